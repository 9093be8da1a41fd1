//! An attacker: one account, one address, and raw connections on which it keeps to no rule.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::Form;
use crate::operations::{Operation, PART};

/// How much of an answer is kept; nothing that a test looks at is longer.
const KEPT_BYTES: usize = 8 * 1024;

/// An attacker that connects from `address` and, to a server that trusts its loopback, says to be `forwarded_for`.
#[derive(Debug, Clone)]
pub struct Attacker {
    target: SocketAddr,
    source: SocketAddr,
    forwarded_for: Option<String>,
    token: Option<String>,
}

/// How an attack on one connection went.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The status of the answer; `None` when the connection ended, or the patience, before there was one.
    pub status: Option<u16>,
    /// The beginning of the answer.
    pub answer: String,
    /// Whether the server ended the connection.
    pub ended: bool,
    /// How many bytes the server took before it ended the connection.
    pub sent: usize,
    /// How long it lasted.
    pub took: Duration,
}

impl Attacker {
    /// Against the server at `base`, from this address of the loopback network.
    ///
    /// # Panics
    /// If `base` is not `http://` and an address.
    pub fn new(base: &str, source: [u8; 4]) -> Self {
        Self {
            target: base.trim_start_matches("http://").parse().expect("an address"),
            source: SocketAddr::from((source, 0)),
            forwarded_for: None,
            token: None,
        }
    }

    /// Behind a proxy that says it connects for this address.
    #[must_use]
    pub fn forwarded_for(self, address: impl Into<String>) -> Self {
        let forwarded_for = Some(address.into());
        Self { forwarded_for, ..self }
    }

    /// Signed in with this access token.
    #[must_use]
    pub fn with_token(self, token: Option<String>) -> Self {
        Self { token, ..self }
    }

    /// A connection; `None` when the server refuses it.
    pub async fn connect(&self) -> Option<TcpStream> {
        let socket = TcpSocket::new_v4().ok()?;
        socket.bind(self.source).ok()?;
        socket.connect(self.target).await.ok()
    }

    /// The head of a request, up to the headers that `more` adds; each ends with a line end.
    pub fn head(&self, method: &str, path: &str, more: &str) -> String {
        let forwarded = self.forwarded_for.iter();
        let forwarded = forwarded.map(|address| format!("X-Forwarded-For: {address}\r\n"));
        let token = self.token.iter();
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let who: String = forwarded.chain(token).collect();
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{who}{more}\r\n")
    }

    /// A whole request for this operation, with ids of nobody and an empty object, or a file that is not taken, where it takes a body, on a
    /// connection of its own.
    pub fn request(&self, operation: &Operation) -> String {
        let body = match operation {
            form if form.takes_form() => Form::of("a.txt", "only words").end(),
            other if other.takes_body() => b"{}".to_vec(),
            _ => Vec::new(),
        };
        let more = format!(
            "Connection: close\r\n{}Content-Length: {}\r\n{}",
            content_type(operation),
            body.len(),
            upgrade(operation)
        );
        self.head(operation.method.as_str(), &operation.path("999999999"), &more) + &String::from_utf8_lossy(&body)
    }

    /// Says this, then reads whatever comes, until the server ends the connection or the answer's head is there and `is_enough`.
    pub async fn say(&self, bytes: &str, patience: Duration, is_enough: impl Fn(&str) -> bool) -> Outcome {
        let began = Instant::now();
        let mut outcome = Outcome::default();
        if let Some(mut stream) = self.connect().await {
            if stream.write_all(bytes.as_bytes()).await.is_ok() {
                outcome.sent = bytes.len();
            }
            let reading = async {
                while !is_enough(&outcome.answer) && !outcome.ended {
                    outcome.read(&mut stream).await;
                }
            };
            // Out of patience: what came so far is the outcome.
            let _ = timeout(patience, reading).await;
        }
        outcome.took = began.elapsed();
        outcome
    }

    /// Says `head`, then `piece` again and again with this pause between, until the server ends the connection or patience does.
    pub async fn never_end(&self, head: &str, piece: &[u8], pause: Duration, patience: Duration) -> Outcome {
        let began = Instant::now();
        let mut outcome = Outcome::default();
        let Some(mut stream) = self.connect().await else {
            return outcome;
        };
        let attack = async {
            if stream.write_all(head.as_bytes()).await.is_err() {
                outcome.ended = true;
            }
            while !outcome.ended {
                let (mut reader, mut writer) = stream.split();
                let mut buffer = [0; 1024];
                tokio::select! {
                    read = reader.read(&mut buffer) => outcome.took_in(read, &buffer),
                    written = async { tokio::time::sleep(pause).await; writer.write_all(piece).await } => match written {
                        Ok(()) => outcome.sent += piece.len(),
                        Err(_) => {
                            outcome.ended = true;
                            outcome.read(&mut stream).await;
                        }
                    },
                }
            }
        };
        let _ = timeout(patience, attack).await;
        outcome.took = began.elapsed();
        outcome
    }
}

impl Outcome {
    async fn read(&mut self, stream: &mut TcpStream) {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).await;
        self.took_in(read, &buffer);
    }

    fn took_in(&mut self, read: std::io::Result<usize>, buffer: &[u8]) {
        match read {
            Ok(0) | Err(_) => self.ended = true,
            Ok(length) if self.answer.len() < KEPT_BYTES => {
                self.answer.push_str(&String::from_utf8_lossy(&buffer[..length]));
                let status = self.answer.strip_prefix("HTTP/1.1 ");
                self.status = status.and_then(|rest| rest.get(..3)?.parse().ok());
            }
            Ok(_) => {}
        }
    }

    /// A header of the answer.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.answer.lines().take_while(|line| !line.is_empty());
        let mut headers = lines.filter_map(|line| line.split_once(": "));
        headers.find_map(|(header, value)| header.eq_ignore_ascii_case(name).then_some(value))
    }
}

/// The headers that say what the body of this operation is.
pub fn content_type(operation: &Operation) -> String {
    let content_type = match operation {
        form if form.takes_form() => Form::default().content_type(),
        part if part.takes_part() => PART.to_owned(),
        _ => "application/json".to_owned(),
    };
    let tus = if operation.speaks_tus() {
        "Tus-Resumable: 1.0.0\r\nUpload-Length: 1000\r\nUpload-Offset: 0\r\n"
    } else {
        ""
    };
    format!("Content-Type: {content_type}\r\n{tus}")
}

/// What only the handshake of a socket says.
fn upgrade(operation: &Operation) -> &'static str {
    if operation.template.contains("/ws/") {
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    } else {
        ""
    }
}
