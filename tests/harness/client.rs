//! A client as an app would write one: JSON in, JSON out, and streams of events.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::{Form, eventually};

pub use self::event_stream::{Event, Events, names, text_after};

mod event_stream;

/// The longest silence on a connection; a stream as a whole has no limit.
const LIMIT: Duration = Duration::from_secs(60);

/// A client of one server, signed in or not.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    /// The access token.
    pub token: Option<String>,
}

/// A response.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; null when there is none or it is not JSON.
    pub body: Value,
    /// The body as it was sent.
    pub bytes: Vec<u8>,
}

impl Reply {
    async fn of(response: reqwest::Response) -> reqwest::Result<Self> {
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await?.to_vec();
        Ok(Self {
            status,
            headers,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            bytes,
        })
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The code of a problem.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

impl Client {
    /// A client that is not signed in, of the server at `base`.
    pub fn new(base: &str) -> Self {
        let http = reqwest::Client::builder()
            .connect_timeout(LIMIT)
            .read_timeout(LIMIT)
            .build()
            .expect("a client");
        Self {
            http,
            base: base.to_owned(),
            token: None,
        }
    }

    /// A client that connects from this address of the loopback network, in a process of its own as far as the server can tell.
    pub fn from_address(base: &str, address: [u8; 4]) -> Self {
        let http = reqwest::Client::builder()
            .connect_timeout(LIMIT)
            .read_timeout(LIMIT)
            .local_address(std::net::IpAddr::from(address))
            .build()
            .expect("a client");
        Self {
            http,
            ..Self::new(base)
        }
    }

    /// The same client at another server.
    pub fn at(&self, base: &str) -> Self {
        Self {
            base: base.to_owned(),
            ..self.clone()
        }
    }

    /// The same client with this access token.
    pub fn with_token(&self, token: &Value) -> Self {
        Self {
            token: token.as_str().map(str::to_owned),
            ..self.clone()
        }
    }

    /// `http://127.0.0.1:…`
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A request, with the access token if there is one.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request.
    pub async fn send(&self, request: RequestBuilder) -> Reply {
        self.try_send(request).await.expect("a whole answer")
    }

    /// Sends a request that may be cut off.
    ///
    /// # Errors
    /// When there is no answer, or no whole one.
    pub async fn try_send(&self, request: RequestBuilder) -> reqwest::Result<Reply> {
        Reply::of(request.send().await?).await
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request(Method::GET, path)).await
    }

    /// POST.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Sends a message in this conversation, or in a new one for null, and returns the body once it is answered.
    pub async fn send_message(&self, conversation: &Value, content: &str) -> Value {
        let body = json!({ "conversation_id": conversation, "content": content });
        let sent = self.post("/chat/send", &body).await;
        assert_eq!(sent.status, 200, "{}", sent.body);
        sent.body
    }

    /// Sends a message that is taken, and does not wait for its answer.
    pub async fn send_without_waiting(&self, body: &Value) -> Reply {
        let sent = self.try_send_without_waiting(body).await;
        assert_eq!(sent.status, 202, "{}", sent.body);
        sent
    }

    /// Sends a message that may be refused, and does not wait for its answer.
    pub async fn try_send_without_waiting(&self, body: &Value) -> Reply {
        let request = self.request(Method::POST, "/chat/send").header("Prefer", "wait=0");
        self.send(request.json(body)).await
    }

    /// Sends a message in a new conversation and returns the id of its answer without waiting for it.
    pub async fn ask(&self, content: &str) -> Value {
        let sent = self.send_without_waiting(&json!({ "content": content })).await;
        sent.body["assistant_message"]["id"].clone()
    }

    /// The message of this id, once it is sent or has failed.
    pub async fn until_final(&self, answer: &Value) -> Value {
        let path = format!("/chat/messages/{answer}");
        eventually("the answer is final", async || {
            let message = self.get(&path).await.body;
            assert!(message["status"].is_string(), "{message}");
            (message["status"] != "sending").then_some(message)
        })
        .await
    }

    /// An upload once its scan has ended.
    pub async fn until_scanned(&self, upload: &Value) -> Value {
        let path = format!("/uploads/{upload}");
        eventually("the scan has ended", async || {
            let file = self.get(&path).await.body;
            assert!(file["status"].is_string(), "{file}");
            (file["status"] != "scanning").then_some(file)
        })
        .await
    }

    /// Stops an answer.
    pub async fn cancel(&self, answer: &Value) -> Reply {
        self.post(&format!("/chat/messages/{answer}/cancel"), &json!({})).await
    }

    /// Sends a form with a file.
    pub async fn upload(&self, form: Form) -> Reply {
        self.send(self.upload_request(form)).await
    }

    /// Sends a form with a file and this key.
    pub async fn upload_with_key(&self, form: Form, key: &str) -> Reply {
        self.send(self.upload_request(form).header("Idempotency-Key", key))
            .await
    }

    /// A request that sends a form with a file.
    pub fn upload_request(&self, form: Form) -> RequestBuilder {
        let request = self.request(Method::POST, "/uploads/file");
        request.header("content-type", form.content_type()).body(form.end())
    }

    /// Makes an account and signs in.
    pub async fn register(&self, email: &str) -> Self {
        let made = self
            .post(
                "/auth/register",
                &json!({ "email": email, "password": "a long password" }),
            )
            .await;
        assert_eq!(made.status, 201, "{}", made.body);
        Self {
            token: made.body["access_token"].as_str().map(str::to_owned),
            ..self.clone()
        }
    }

    /// Opens a stream.
    pub async fn events(&self, request: RequestBuilder) -> Result<Events, Reply> {
        self.try_events(request).await.expect("an answer")
    }

    /// Opens a stream, if there is a server that answers.
    pub async fn try_events(&self, request: RequestBuilder) -> Option<Result<Events, Reply>> {
        let response = request.send().await.ok()?;
        if response.status() != 200 {
            return Some(Err(Reply::of(response).await.ok()?));
        }
        Some(Ok(Events::of(response)))
    }

    /// Opens the stream of everything, from `cursor` on.
    pub async fn watch(&self, cursor: Option<&str>) -> Events {
        let mut request = self.request(Method::GET, "/events");
        if let Some(cursor) = cursor {
            request = request.header("Last-Event-ID", cursor);
        }
        self.events(request)
            .await
            .unwrap_or_else(|reply| panic!("{} {}", reply.status, reply.body))
    }

    /// Sends a message and opens the stream of its answer.
    pub async fn stream(&self, content: &str) -> Events {
        let request = self
            .request(Method::POST, "/chat/stream")
            .json(&json!({ "content": content }));
        self.events(request)
            .await
            .unwrap_or_else(|reply| panic!("{} {}", reply.status, reply.body))
    }

    /// Joins the stream of a message.
    pub async fn resume(&self, message: i64, cursor: Option<&str>) -> Events {
        let mut request = self.request(Method::GET, &format!("/chat/messages/{message}/stream"));
        if let Some(cursor) = cursor {
            request = request.header("Last-Event-ID", cursor);
        }
        self.events(request)
            .await
            .unwrap_or_else(|reply| panic!("{} {}", reply.status, reply.body))
    }
}
