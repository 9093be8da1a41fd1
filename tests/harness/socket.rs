//! A WebSocket as an app would hold one.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::Client;

/// Longer than anything should take.
const LIMIT: Duration = Duration::from_secs(60);

/// An open socket.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The cursor of the last frame that moved it.
    pub cursor: Option<String>,
}

impl Socket {
    /// Opens a socket of `client`, signed in by its token, at this path.
    ///
    /// # Errors
    /// When the server does not upgrade, or is not there.
    pub async fn open(client: &Client, path: &str) -> Result<Self, Error> {
        let url = format!("{}{path}", client.base().replacen("http", "ws", 1));
        let mut request = url.into_client_request()?;
        if let Some(token) = &client.token {
            let value = format!("Bearer {token}").parse().expect("a header");
            request.headers_mut().insert("authorization", value);
        }
        let (stream, _) = tokio::time::timeout(LIMIT, tokio_tungstenite::connect_async(request))
            .await
            .expect("an answer")?;
        Ok(Self { stream, cursor: None })
    }

    /// Opens the socket of a conversation, from `cursor` on.
    pub async fn of(client: &Client, conversation: &Value, cursor: Option<&str>) -> Self {
        let after = cursor.map(|cursor| format!("?after={cursor}")).unwrap_or_default();
        let path = format!("/chat/ws/{conversation}{after}");
        Self::open(client, &path).await.expect("a socket")
    }

    /// Sends a command.
    pub async fn send(&mut self, frame: &Value) {
        self.send_frame(Message::text(frame.to_string())).await;
    }

    /// Sends any frame; ignores that the peer is gone.
    pub async fn send_frame(&mut self, frame: Message) {
        let _ = self.stream.send(frame).await;
    }

    /// The next event; the close code, when there is none any more (1006 without one).
    ///
    /// # Errors
    /// When the socket is closed.
    pub async fn next(&mut self) -> Result<Value, u16> {
        loop {
            let next = tokio::time::timeout(LIMIT, self.stream.next()).await.expect("a frame");
            match next {
                Some(Ok(Message::Text(text))) => {
                    let event: Value = serde_json::from_str(&text).expect("JSON");
                    if let Some(cursor) = event["cursor"].as_str() {
                        self.cursor = Some(cursor.to_owned());
                    }
                    return Ok(event);
                }
                Some(Ok(Message::Close(Some(frame)))) => return Err(frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(1006),
            }
        }
    }

    /// Events up to and including the first of this type.
    pub async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut seen = Vec::new();
        loop {
            match self.next().await {
                Ok(event) => seen.push(event),
                Err(code) => panic!("closed with {code} before {kind}: {seen:?}"),
            }
            if seen.last().is_some_and(|last| last["type"] == kind) {
                return seen;
            }
        }
    }

    /// The close code; whatever comes before it is left.
    pub async fn closed(&mut self) -> u16 {
        loop {
            if let Err(code) = self.next().await {
                return code;
            }
        }
    }
}
