//! A push service of browsers (RFC 8030) on a real socket, and browsers that subscribe at it: it checks what a real one
//! checks, and the browsers decrypt what arrives.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cura_domain::device::Subscription;
use cura_domain::push_endpoint::PushHosts;
use cura_providers::push::VapidKey;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use web_push_native::p256::SecretKey;
use web_push_native::p256::elliptic_curve::sec1::ToEncodedPoint;

use crate::eventually;
use crate::http_server::{HttpAnswer, HttpRequest, HttpServer};

/// The longest body that it takes (RFC 8030, section 7.2).
const MOST_BYTES: usize = 4096;
/// How long a signature may be valid (RFC 8292, section 2), in seconds.
const LONGEST_SIGNATURE: u64 = 24 * 60 * 60;

/// The service.
pub struct PushService {
    server: HttpServer,
    state: Arc<Mutex<State>>,
    key: VapidKey,
}

#[derive(Default)]
struct State {
    origin: String,
    browsers: HashMap<String, Browser>,
    scripts: HashMap<String, Script>,
    pushes: Vec<ReceivedPush>,
}

/// What a subscription is answered.
#[derive(Default)]
struct Script {
    next: VecDeque<HttpAnswer>,
    always: Option<HttpAnswer>,
}

/// A browser with a subscription.
#[derive(Clone)]
pub struct Browser {
    endpoint: String,
    key: SecretKey,
    auth: [u8; 16],
}

/// A push that arrived at the service, whatever it was answered.
#[derive(Debug, Clone)]
pub struct ReceivedPush {
    /// The endpoint that it was sent to.
    pub endpoint: String,
    /// The request line and headers.
    pub request: HttpRequest,
    /// What the service answered; 0 for no answer.
    pub status: u16,
    /// What the signature says; `None` if it is none.
    pub claims: Option<Value>,
    /// What the browser reads; `None` if it cannot be decrypted.
    pub plaintext: Option<Value>,
}

impl PushService {
    /// Starts one. It answers 201 unless it is told otherwise, or a real one would refuse the push.
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let seen = Arc::clone(&state);
        let server = HttpServer::start(move |request| {
            let mut state = seen.lock().unwrap_or_else(PoisonError::into_inner);
            state.receive(request)
        })
        .await;
        let service = Self {
            server,
            state,
            key: VapidKey::generate(&cura_bin::wiring::entropy()),
        };
        service.state().origin = service.server.url();
        service
    }

    /// The key that its browsers subscribe for.
    pub fn key(&self) -> &VapidKey {
        &self.key
    }

    /// The server behind it.
    pub fn server(&self) -> &HttpServer {
        &self.server
    }

    /// The hosts that `WEBPUSH_HOSTS` has to name.
    pub fn hosts(&self) -> PushHosts {
        PushHosts::parse(&self.server.host()).expect("a host")
    }

    /// The settings of a Cura that pushes to its browsers.
    pub fn variables(&self) -> [(&'static str, String); 3] {
        [
            ("VAPID_PRIVATE_KEY", self.key.private_text().expose_secret().to_owned()),
            ("VAPID_SUBJECT", "mailto:push@example.org".to_owned()),
            ("WEBPUSH_HOSTS", self.server.host()),
        ]
    }

    /// A browser that subscribes.
    pub fn subscribe(&self) -> Browser {
        let mut state = self.state();
        // The name of a subscription is a secret that logs must not hold.
        let endpoint = format!("{}/wpush/secret-{}", self.server.url(), state.browsers.len() + 1);
        let browser = Browser::new(endpoint);
        state.browsers.insert(browser.endpoint.clone(), browser.clone());
        browser
    }

    /// Forgets a subscription, as when a person withdraws the permission: its pushes are answered with 410.
    pub fn unsubscribe(&self, browser: &Browser) {
        self.answer_always(browser, HttpAnswer::reply(410, ""));
    }

    /// Gives these answers to the next pushes of a browser.
    pub fn answer_next(&self, browser: &Browser, answers: impl IntoIterator<Item = HttpAnswer>) {
        let mut state = self.state();
        state.script(browser).next.extend(answers);
    }

    /// Gives this answer to every push of a browser.
    pub fn answer_always(&self, browser: &Browser, answer: HttpAnswer) {
        self.state().script(browser).always = Some(answer);
    }

    /// Every push so far.
    pub fn pushes(&self) -> Vec<ReceivedPush> {
        self.state().pushes.clone()
    }

    /// The pushes of a browser so far.
    pub fn pushes_of(&self, browser: &Browser) -> Vec<ReceivedPush> {
        let mut pushes = self.pushes();
        pushes.retain(|push| push.endpoint == browser.endpoint);
        pushes
    }

    /// Waits until a browser has received this many pushes.
    pub async fn wait_for_pushes_of(&self, browser: &Browser, times: usize) -> Vec<ReceivedPush> {
        eventually(&format!("the browser receives {times} pushes"), async || {
            Some(self.pushes_of(browser)).filter(|pushes| pushes.len() == times)
        })
        .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Browser {
    /// A browser whose subscription is at this endpoint.
    pub fn new(endpoint: String) -> Self {
        let entropy = cura_bin::wiring::entropy();
        let key = VapidKey::generate(&entropy).private_text();
        let key = URL_SAFE_NO_PAD.decode(key.expose_secret()).expect("base64url");
        Self {
            endpoint,
            key: SecretKey::from_slice(&key).expect("a key"),
            auth: entropy.bytes(),
        }
    }

    /// Where its pushes go.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What `PushSubscription.toJSON()` gives in a browser.
    pub fn to_json(&self) -> Value {
        let keys = json!({
            "p256dh": URL_SAFE_NO_PAD.encode(self.public_key()),
            "auth": URL_SAFE_NO_PAD.encode(self.auth),
        });
        json!({ "endpoint": self.endpoint, "expirationTime": null, "keys": keys })
    }

    /// The subscription, as it is where these hosts are named.
    pub fn subscription(&self, hosts: &PushHosts) -> Subscription {
        let endpoint = hosts.endpoint(&self.endpoint).expect("an allowed endpoint");
        Subscription::new(endpoint, self.public_key(), self.auth.to_vec()).expect("keys")
    }

    /// What it reads in a push.
    pub fn decrypt(&self, body: &[u8]) -> Option<Value> {
        let plaintext = web_push_native::decrypt(body.to_vec(), &self.key, &self.auth.into()).ok()?;
        serde_json::from_slice(&plaintext).ok()
    }

    fn public_key(&self) -> Vec<u8> {
        self.key.public_key().to_encoded_point(false).as_bytes().to_vec()
    }
}

impl State {
    fn script(&mut self, browser: &Browser) -> &mut Script {
        self.scripts.entry(browser.endpoint.clone()).or_default()
    }

    fn receive(&mut self, request: HttpRequest) -> HttpAnswer {
        let (method, path) = request.line();
        let endpoint = format!("{}{path}", self.origin);
        let Some(browser) = self.browsers.get(&endpoint).filter(|_| method == "POST") else {
            return HttpAnswer::reply(404, "");
        };
        let claims = claims(&request);
        let plaintext = browser.decrypt(&request.body);
        let answer = self
            .scripts
            .get_mut(&endpoint)
            .and_then(|script| script.next.pop_front().or_else(|| script.always.clone()))
            .unwrap_or_else(|| judge(&request, claims.as_ref(), &self.origin));
        self.pushes.push(ReceivedPush {
            endpoint,
            request,
            status: answer.status(),
            claims,
            plaintext,
        });
        answer
    }
}

/// What a real service answers.
pub(crate) fn judge(request: &HttpRequest, claims: Option<&Value>, origin: &str) -> HttpAnswer {
    let Some(claims) = claims else {
        return HttpAnswer::reply(401, "no VAPID signature");
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let is_ours = claims["aud"] == origin
        && claims["sub"].as_str().is_some_and(|sub| !sub.is_empty())
        && claims["exp"]
            .as_u64()
            .is_some_and(|end| (now..=now + LONGEST_SIGNATURE).contains(&end));
    let is_topic = |topic: &str| {
        let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (1..=32).contains(&topic.len()) && topic.bytes().all(is_base64url)
    };
    let is_urgency = |urgency: &str| ["very-low", "low", "normal", "high"].contains(&urgency);
    let is_good = request.header("TTL").is_some_and(|ttl| ttl.parse::<u32>().is_ok())
        && request.header("Topic").is_none_or(is_topic)
        && request.header("Urgency").is_none_or(is_urgency)
        && request.header("Content-Encoding") == Some("aes128gcm");
    match () {
        () if !is_ours => HttpAnswer::reply(403, "a VAPID signature for somebody else"),
        () if request.body.len() > MOST_BYTES => HttpAnswer::reply(413, ""),
        () if !is_good => HttpAnswer::reply(400, ""),
        () => HttpAnswer::reply(201, "").with("Location", format!("{origin}/message/1")),
    }
}

/// What the signature of a push says, if the key beside it made it (RFC 8292, section 3).
pub(crate) fn claims(request: &HttpRequest) -> Option<Value> {
    let value = request.header("Authorization")?.strip_prefix("vapid t=")?;
    let (token, key) = value.split_once(", k=")?;
    let point = URL_SAFE_NO_PAD.decode(key).ok()?;
    let mut validation = Validation::new(Algorithm::ES256);
    (validation.validate_exp, validation.validate_aud) = (false, false);
    let decoded = jsonwebtoken::decode::<Value>(token, &DecodingKey::from_ec_der(&point), &validation);
    decoded.ok().map(|token| token.claims)
}
