//! A client as an app would write one: JSON in, JSON out, and streams of events.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

/// Longer than anything should take.
const LIMIT: Duration = Duration::from_secs(60);

/// Somebody at one server, signed in or not.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    /// The access token.
    pub token: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; null when there is none or it is not JSON.
    pub body: Value,
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// `event:`
    pub name: String,
    /// `id:`
    pub id: String,
    /// `data:`
    pub data: Value,
}

/// A stream of events that is being read.
pub struct Events {
    body: futures_util::stream::BoxStream<'static, reqwest::Result<Vec<u8>>>,
    buffer: Vec<u8>,
    /// Comments seen so far.
    pub comments: usize,
    /// The headers of the answer.
    pub headers: HeaderMap,
    /// The id of the last block that had one.
    pub cursor: Option<String>,
}

impl Reply {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The stable word of a problem.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

impl Client {
    /// Nobody in particular, at the server at `base`.
    pub fn new(base: &str) -> Self {
        let http = reqwest::Client::builder()
            .timeout(LIMIT)
            .connect_timeout(LIMIT)
            .build()
            .expect("a client");
        Self {
            http,
            base: base.to_owned(),
            token: None,
        }
    }

    /// The same person at another server.
    pub fn at(&self, base: &str) -> Self {
        Self {
            base: base.to_owned(),
            ..self.clone()
        }
    }

    /// Somebody who has this access token.
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

    /// A request, signed if we are signed in.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request.
    pub async fn send(&self, request: RequestBuilder) -> Reply {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.expect("a whole answer");
        Reply {
            status,
            headers,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request(Method::GET, path)).await
    }

    /// POST.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(self.request(Method::POST, path).json(body)).await
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
        let (status, headers) = (response.status(), response.headers().clone());
        if status != 200 {
            let body = response.bytes().await.ok()?;
            return Some(Err(Reply {
                status,
                headers,
                body: serde_json::from_slice(&body).unwrap_or(Value::Null),
            }));
        }
        let body = response
            .bytes_stream()
            .map(|part| part.map(|bytes| bytes.to_vec()))
            .boxed();
        Some(Ok(Events {
            body,
            buffer: Vec::new(),
            comments: 0,
            headers,
            cursor: None,
        }))
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

impl Events {
    /// The next event or comment as it came; `None` when the stream ends, or breaks.
    pub async fn next_frame(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|two| two == b"\n\n") {
                let frame: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return Some(String::from_utf8(frame).expect("UTF-8"));
            }
            match self.body.next().await {
                Some(Ok(part)) => self.buffer.extend(part),
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// Waits until the stream has a cursor, which its first blocks carry; `false` when it ends before.
    pub async fn begun(&mut self) -> bool {
        while self.cursor.is_none() {
            let Some(frame) = self.next_frame().await else {
                return false;
            };
            self.note_cursor(&frame);
        }
        true
    }

    fn note_cursor(&mut self, frame: &str) {
        if let Some(id) = frame.lines().find_map(|line| line.strip_prefix("id: ")) {
            self.cursor = Some(id.to_owned());
        }
    }

    /// The next event; `None` when the stream ends, or breaks.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let frame = self.next_frame().await?;
            self.note_cursor(&frame);
            let field = |name: &str| {
                frame
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
                    .unwrap_or_default()
            };
            if let Some(data) = frame.lines().find_map(|line| line.strip_prefix("data: ")) {
                return Some(Event {
                    name: field("event: ").to_owned(),
                    id: field("id: ").to_owned(),
                    data: serde_json::from_str(data).expect("JSON"),
                });
            }
            self.comments += usize::from(frame.starts_with(':'));
        }
    }

    /// Events up to and including the first called `name`.
    pub async fn until(&mut self, name: &str) -> Vec<Event> {
        let mut seen = Vec::new();
        while let Some(event) = self.next().await {
            seen.push(event);
            if seen.last().is_some_and(|last| last.name == name) {
                return seen;
            }
        }
        panic!("the stream ended without {name}: {seen:?}");
    }

    /// Every event to the end of the stream.
    pub async fn rest(&mut self) -> Vec<Event> {
        let mut seen = Vec::new();
        while let Some(event) = self.next().await {
            seen.push(event);
        }
        seen
    }
}

/// The text a reader has after these events, having `text` before; checks that no byte is missing or repeated.
pub fn text_after(text: &str, events: &[Event]) -> String {
    let mut text = text.to_owned();
    for event in events {
        let offset = usize::try_from(event.data["offset"].as_u64().unwrap_or_default()).expect("small");
        match event.name.as_str() {
            "chunk" => {
                assert_eq!(offset, text.len(), "a gap or a repetition");
                text.push_str(event.data["content"].as_str().expect("content"));
            }
            "reset" => text.truncate(offset),
            _ => {}
        }
    }
    text
}
