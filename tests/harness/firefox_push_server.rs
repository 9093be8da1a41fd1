//! The push service of one Firefox: RFC 8030 towards Cura, and towards the browser what Mozilla's own service speaks, JSON
//! over a WebSocket (<https://mozilla-push-service.readthedocs.io/en/latest/design/>).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cura_providers::push::VapidKey;
use futures_util::{SinkExt, StreamExt};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::eventually;
use crate::http_server::{HttpAnswer, HttpRequest, HttpServer};
use crate::push_service::{claims, judge};

/// The header by which Firefox names its protocol, and is told that it is spoken.
const PROTOCOL: &str = "Sec-WebSocket-Protocol";
/// Where a push goes to, before the name of its subscription.
const ENDPOINTS: &str = "/wpush/";

/// The service.
pub struct FirefoxPushServer {
    server: HttpServer,
    for_firefox: String,
    state: watch::Sender<State>,
    key: VapidKey,
}

#[derive(Default)]
struct State {
    origin: String,
    subscriptions: Vec<Subscription>,
    pushes: Vec<ForwardedPush>,
}

struct Subscription {
    channel: String,
    /// The key of whom it is for, in base64url without padding; empty if it is for anybody.
    key: String,
    is_active: bool,
}

/// A push that was taken for the browser.
#[derive(Debug, Clone)]
pub struct ForwardedPush {
    channel: String,
    version: String,
    data: String,
    /// What the browser said of it: 100 is delivered, 101 not decrypted, 102 failed in the service worker.
    pub acknowledged: Option<u64>,
}

impl FirefoxPushServer {
    /// Starts one.
    pub async fn start() -> Self {
        let state = watch::Sender::new(State::default());
        let receiving = state.clone();
        let server = HttpServer::start(move |request| receive(&receiving, &request)).await;
        state.send_modify(|state| state.origin = server.url());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let of_firefox = state.clone();
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = of_firefox.clone();
                #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
                tokio::spawn(async move {
                    // The browser may leave at any time; it gets what it has not acknowledged when it is back.
                    let _ = converse(socket, &state).await;
                });
            }
        });
        Self {
            server,
            for_firefox: format!("ws://{address}/"),
            state,
            key: VapidKey::generate(&cura_bin::wiring::entropy()),
        }
    }

    /// Where Firefox connects to.
    pub fn url(&self) -> &str {
        &self.for_firefox
    }

    /// The settings of a Cura that pushes to its browser.
    pub fn variables(&self) -> [(&'static str, String); 3] {
        [
            ("VAPID_PRIVATE_KEY", self.key.private_text().expose_secret().to_owned()),
            ("VAPID_SUBJECT", "mailto:push@example.org".to_owned()),
            ("WEBPUSH_HOSTS", self.server.host()),
        ]
    }

    /// The pushes so far.
    pub fn pushes(&self) -> Vec<ForwardedPush> {
        self.state.borrow().pushes.clone()
    }

    /// Waits until the browser has said of this many pushes what came of them.
    pub async fn wait_for_acknowledgements(&self, times: usize) -> Vec<u64> {
        eventually(&format!("the browser acknowledges {times} pushes"), async || {
            let said = self
                .pushes()
                .iter()
                .filter_map(|push| push.acknowledged)
                .collect::<Vec<_>>();
            (said.len() == times).then_some(said)
        })
        .await
    }

    /// Waits until the browser has given up every subscription.
    pub async fn wait_for_end_of_subscriptions(&self) {
        eventually("the browser gives up its subscriptions", async || {
            let state = self.state.borrow();
            state
                .subscriptions
                .iter()
                .all(|subscription| !subscription.is_active)
                .then_some(())
        })
        .await;
    }
}

/// Takes a push from Cura, if a real service would.
fn receive(state: &watch::Sender<State>, request: &HttpRequest) -> HttpAnswer {
    let mut answer = HttpAnswer::reply(404, "");
    state.send_if_modified(|state| {
        answer = state.receive(request);
        answer.status() == 201
    });
    answer
}

impl State {
    fn receive(&mut self, request: &HttpRequest) -> HttpAnswer {
        let (method, path) = request.line();
        let channel = path.strip_prefix(ENDPOINTS).filter(|_| method == "POST");
        let subscribed = self.subscriptions.iter().find(|known| Some(&*known.channel) == channel);
        let Some(subscription) = subscribed else {
            return HttpAnswer::reply(404, "");
        };
        if !subscription.is_active {
            return HttpAnswer::reply(410, "");
        }
        // RFC 8292, section 4.2.
        let signed_by = request
            .header("Authorization")
            .and_then(|vapid| vapid.split_once(", k="));
        if !subscription.key.is_empty() && signed_by.map(|(_, key)| key) != Some(&*subscription.key) {
            return HttpAnswer::reply(403, "subscribed for another key");
        }
        let answer = judge(request, claims(request).as_ref(), &self.origin);
        if answer.status() == 201 {
            self.pushes.push(ForwardedPush {
                channel: subscription.channel.clone(),
                version: format!("v{}", self.pushes.len() + 1),
                data: URL_SAFE_NO_PAD.encode(&request.body),
                acknowledged: None,
            });
        }
        answer
    }

    /// Does what the browser says, and returns what it is answered.
    fn hear(&mut self, said: &Value) -> Option<Value> {
        let channel = said["channelID"].as_str().unwrap_or_default();
        match said["messageType"].as_str() {
            Some("hello") => Some(json!({
                "messageType": "hello",
                "status": 200,
                "uaid": "0123456789abcdef0123456789abcdef",
                "use_webpush": true,
                "broadcasts": {},
            })),
            Some("register") => {
                self.subscriptions.push(Subscription {
                    channel: channel.to_owned(),
                    key: said["key"]
                        .as_str()
                        .unwrap_or_default()
                        .trim_end_matches('=')
                        .to_owned(),
                    is_active: true,
                });
                let endpoint = format!("{}{ENDPOINTS}{channel}", self.origin);
                Some(
                    json!({ "messageType": "register", "status": 200, "channelID": channel, "pushEndpoint": endpoint }),
                )
            }
            Some("unregister") => {
                let given_up = self.subscriptions.iter_mut().filter(|known| known.channel == channel);
                given_up.for_each(|subscription| subscription.is_active = false);
                Some(json!({ "messageType": "unregister", "status": 200, "channelID": channel }))
            }
            Some("ack") => {
                for update in said["updates"].as_array().into_iter().flatten() {
                    let of = self.pushes.iter_mut().filter(|push| update["version"] == push.version);
                    of.for_each(|push| push.acknowledged = update["code"].as_u64());
                }
                None
            }
            // An empty object asks whether the service is there.
            None | Some("ping") => Some(json!({})),
            Some(_) => None,
        }
    }
}

impl ForwardedPush {
    fn notification(&self) -> Value {
        json!({
            "messageType": "notification",
            "channelID": self.channel,
            "version": self.version,
            "data": self.data,
            "headers": { "encoding": "aes128gcm" },
        })
    }
}

/// Serves one connection of the browser.
async fn converse(socket: TcpStream, state: &watch::Sender<State>) -> Result<(), Error> {
    let mut socket = tokio_tungstenite::accept_hdr_async(socket, same_protocol).await?;
    let mut changes = state.subscribe();
    let (mut is_greeted, mut forwarded) = (false, 0);
    loop {
        tokio::select! {
            message = socket.next() => {
                let said = match message {
                    Some(Ok(Message::Text(text))) => serde_json::from_str::<Value>(&text).unwrap_or_default(),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(()),
                    Some(Ok(_)) => continue,
                };
                is_greeted |= said["messageType"] == "hello";
                let mut answer = None;
                state.send_modify(|state| answer = state.hear(&said));
                if let Some(answer) = answer {
                    socket.send(Message::text(answer.to_string())).await?;
                }
            }
            // The sender lives as long as this borrow.
            _ = changes.changed(), if is_greeted => {
                let waiting = changes.borrow_and_update().pushes[forwarded..].to_vec();
                forwarded += waiting.len();
                for push in waiting.iter().filter(|push| push.acknowledged.is_none()) {
                    socket.send(Message::text(push.notification().to_string())).await?;
                }
            }
        }
    }
}

/// Speaks the protocol that the browser asks for.
#[expect(clippy::result_large_err, reason = "the signature of a handshake's callback")]
fn same_protocol(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    if let Some(protocol) = request.headers().get(PROTOCOL) {
        response.headers_mut().insert(PROTOCOL, protocol.clone());
    }
    Ok(response)
}
