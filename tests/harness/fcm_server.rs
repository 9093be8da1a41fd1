//! Firebase Cloud Messaging (HTTP v1) on a real socket, with the token endpoint of Google: it checks what Google
//! checks, and answers as Google's error reference says or as a test tells it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::eventually;
use crate::http_server::{HttpAnswer, HttpRequest, HttpServer};

/// The project of the service account.
pub const PROJECT: &str = "cura-test";
/// What an access token must be for.
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// The most bytes of a message, its target aside.
const MOST_BYTES: usize = 4096;

/// The service.
pub struct FcmServer {
    server: HttpServer,
    credentials: NamedTempFile,
    state: Arc<Mutex<State>>,
}

struct State {
    token_url: String,
    public_key: Vec<u8>,
    token_requests: usize,
    token_answer: Option<HttpAnswer>,
    valid: HashSet<String>,
    next: HashMap<String, VecDeque<HttpAnswer>>,
    always: HashMap<String, HttpAnswer>,
    sends: Vec<FcmSend>,
}

/// A message that arrived, whatever it was answered.
#[derive(Debug, Clone)]
pub struct FcmSend {
    /// The access token that it came with.
    pub access_token: String,
    /// The registration token or installation id of the device.
    pub device: String,
    /// What was sent: `message`.
    pub message: Value,
    /// What was answered; 0 for no answer.
    pub status: u16,
    /// When it arrived.
    pub at: SystemTime,
}

impl FcmServer {
    /// Starts one with a service account. It takes messages for every device unless it is told otherwise.
    pub async fn start() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key pair");
        let state = Arc::new(Mutex::new(State {
            token_url: String::new(),
            public_key: pair.public_key().as_ref().to_vec(),
            token_requests: 0,
            token_answer: None,
            valid: HashSet::new(),
            next: HashMap::new(),
            always: HashMap::new(),
            sends: Vec::new(),
        }));
        let seen = Arc::clone(&state);
        let server = HttpServer::start(move |request| {
            let mut state = seen.lock().unwrap_or_else(PoisonError::into_inner);
            state.receive(&request)
        })
        .await;
        let token_url = format!("{}/token", server.url());
        let mut credentials = NamedTempFile::new().expect("a file");
        credentials
            .write_all(key_file(&pair, &token_url).as_bytes())
            .expect("written");
        state.lock().unwrap_or_else(PoisonError::into_inner).token_url = token_url;
        Self {
            server,
            credentials,
            state,
        }
    }

    /// The server behind it.
    pub fn server(&self) -> &HttpServer {
        &self.server
    }

    /// The key file of its service account.
    pub fn credentials(&self) -> String {
        std::fs::read_to_string(self.credentials.path()).expect("written")
    }

    /// The settings of a Cura that pushes through it.
    pub fn variables(&self) -> [(&'static str, String); 2] {
        [
            (
                "FIREBASE_CREDENTIALS_PATH",
                self.credentials.path().display().to_string(),
            ),
            ("FCM_URL", self.server.url()),
        ]
    }

    /// Gives these answers to the next messages for a device.
    pub fn answer_next(&self, device: &str, answers: impl IntoIterator<Item = HttpAnswer>) {
        self.state().next.entry(device.to_owned()).or_default().extend(answers);
    }

    /// Gives this answer to every message for a device.
    pub fn answer_always(&self, device: &str, answer: HttpAnswer) {
        self.state().always.insert(device.to_owned(), answer);
    }

    /// Answers requests for access tokens like this; `None` gives out tokens.
    pub fn answer_token_requests(&self, answer: Option<HttpAnswer>) {
        self.state().token_answer = answer;
    }

    /// Takes none of the access tokens that were given out so far: messages with them are answered with 401.
    pub fn revoke_access_tokens(&self) {
        self.state().valid.clear();
    }

    /// How often an access token was asked for.
    pub fn token_requests(&self) -> usize {
        self.state().token_requests
    }

    /// Every message so far.
    pub fn sends(&self) -> Vec<FcmSend> {
        self.state().sends.clone()
    }

    /// How many messages arrived so far.
    pub fn count(&self) -> usize {
        self.state().sends.len()
    }

    /// The messages for a device so far.
    pub fn sends_to(&self, device: &str) -> Vec<FcmSend> {
        let mut sends = self.sends();
        sends.retain(|send| send.device == device);
        sends
    }

    /// Waits until a device was sent this many messages.
    pub async fn wait_for_sends_to(&self, device: &str, times: usize) -> Vec<FcmSend> {
        eventually(&format!("{device} is sent {times} messages"), async || {
            Some(self.sends_to(device)).filter(|sends| sends.len() == times)
        })
        .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn receive(&mut self, request: &HttpRequest) -> HttpAnswer {
        match request.line() {
            ("POST", "/token") => self.give_token(request),
            ("POST", path) if path == format!("/v1/projects/{PROJECT}/messages:send") => self.take_message(request),
            _ => html(404),
        }
    }

    fn give_token(&mut self, request: &HttpRequest) -> HttpAnswer {
        self.token_requests += 1;
        let token = format!("ya29.secret-{}", self.token_requests);
        if let Some(answer) = &self.token_answer {
            // One that comes late is a token, too.
            let HttpAnswer::After(latch, _) = answer else {
                return answer.clone();
            };
            let latch = latch.clone();
            self.valid.insert(token.clone());
            return access_token(&token).after(&latch);
        }
        if !self.is_signed(request) {
            return HttpAnswer::json(400, &json!({ "error": "invalid_grant" }));
        }
        self.valid.insert(token.clone());
        access_token(&token)
    }

    /// Whether the service account asks for a token for messages (RFC 7523).
    fn is_signed(&self, request: &HttpRequest) -> bool {
        let body = String::from_utf8_lossy(&request.body);
        let assertion = body.split('&').find_map(|field| field.strip_prefix("assertion="));
        // gcp_auth pads its base64, which Google takes.
        let assertion = assertion.unwrap_or_default().replace("%3D", "=");
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok();
        let claims = || {
            let (signed, signature) = assertion.rsplit_once('.')?;
            let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public_key);
            key.verify(signed.as_bytes(), &decode(signature)?).ok()?;
            let (_, claims) = signed.split_once('.')?;
            serde_json::from_slice::<Value>(&decode(claims)?).ok()
        };
        claims().is_some_and(|claims| claims["scope"] == SCOPE && claims["aud"] == self.token_url)
    }

    fn take_message(&mut self, request: &HttpRequest) -> HttpAnswer {
        let at = SystemTime::now();
        let access_token = request
            .header("Authorization")
            .and_then(|value| value.strip_prefix("Bearer "));
        let access_token = access_token.unwrap_or_default().to_owned();
        let mut message = serde_json::from_slice::<Value>(&request.body).unwrap_or_default()["message"].take();
        let targets = ["token", "fid"].map(|target| message[target].as_str().map(str::to_owned));
        let (device, targets) = (
            targets.iter().flatten().next().cloned(),
            targets.iter().flatten().count(),
        );
        let device = device.unwrap_or_default();
        let is_valid = self.valid.contains(&access_token);
        let script = self.next.get_mut(&device).and_then(VecDeque::pop_front);
        let answer = match script.or_else(|| self.always.get(&device).cloned()) {
            _ if !is_valid => unauthenticated(),
            Some(answer) => answer,
            None if targets != 1 => fcm_error(400, "INVALID_ARGUMENT", "Recipient of the message is not set.", &[]),
            None => {
                let mut untargeted = message.clone();
                if let Some(fields) = untargeted.as_object_mut() {
                    fields.retain(|name, _| !["token", "fid"].contains(&name.as_str()));
                }
                if untargeted.to_string().len() > MOST_BYTES {
                    google_error("INVALID_ARGUMENT", "Request contains an invalid argument.", &[])
                } else {
                    taken()
                }
            }
        };
        self.sends.push(FcmSend {
            access_token,
            device,
            message: message.take(),
            status: answer.status(),
            at,
        });
        answer
    }
}

fn access_token(token: &str) -> HttpAnswer {
    HttpAnswer::json(
        200,
        &json!({ "access_token": token, "expires_in": 3599, "token_type": "Bearer" }),
    )
}

/// What Firebase answers to a message that it takes.
pub fn taken() -> HttpAnswer {
    HttpAnswer::json(200, &json!({ "name": format!("projects/{PROJECT}/messages/0:1") }))
}

/// What Google answers to an access token that it does not take.
pub fn unauthenticated() -> HttpAnswer {
    let message = "Request had invalid authentication credentials. Expected OAuth 2 access token.";
    let reason = json!({ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "ACCESS_TOKEN_EXPIRED" });
    let error = json!({ "code": 401, "message": message, "status": "UNAUTHENTICATED", "details": [reason] });
    HttpAnswer::json(401, &json!({ "error": error }))
}

/// An error of Firebase about one message, with more details beside its code.
pub fn fcm_error(status: u16, code: &str, message: &str, more: &[Value]) -> HttpAnswer {
    let of_fcm = json!({ "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code });
    let details: Vec<&Value> = std::iter::once(&of_fcm).chain(more).collect();
    let error = json!({ "code": status, "message": message, "status": "SCRIPTED", "details": details });
    HttpAnswer::json(status, &json!({ "error": error }))
}

/// An error of Google about a message that Firebase never saw: it has no code of Firebase. Google's error reference has two: its
/// first example names a field that is wrong, and a message that is too large has no details at all.
pub fn google_error(status: &str, message: &str, details: &[Value]) -> HttpAnswer {
    let mut error = json!({ "code": 400, "message": message, "status": status });
    if !details.is_empty() {
        error["details"] = json!(details);
    }
    HttpAnswer::json(400, &json!({ "error": error }))
}

/// The detail of an error that names a field.
pub fn violation(field: &str) -> Value {
    let violation = json!({ "field": field, "description": "Invalid value" });
    json!({ "@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation] })
}

/// A page of something that is not Firebase.
pub fn html(status: u16) -> HttpAnswer {
    HttpAnswer::reply(status, "<!DOCTYPE html><title>Error</title>").with("Content-Type", "text/html")
}

/// The key file of a service account, as the console of Firebase gives it.
fn key_file(pair: &KeyPair, token_url: &str) -> String {
    let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(pair).expect("a private key");
    let lines = STANDARD.encode(der.as_ref());
    let lines: Vec<&str> = lines
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("base64"))
        .collect();
    let label = "PRIVATE KEY";
    let file = json!({
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "1",
        "private_key": format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")),
        "client_email": "push@cura-test.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": token_url,
    });
    file.to_string()
}
