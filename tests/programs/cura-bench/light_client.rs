//! Connections as light as they can be, because the load shares the machine with what it measures.

use cura_tests::Client;
use cura_tests::raw_socket::{RawSocket, TEXT};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::answers::between;

/// The connection by which a client watches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Events,
    Sockets,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Sockets => "sockets",
        }
    }
}

/// An open `/events`, or an open socket.
pub enum Watching {
    Events(BufReader<TcpStream>),
    Socket(RawSocket),
}

impl Watching {
    /// Watches everything, or a conversation, from `cursor` on; the connection has begun when this is done.
    pub async fn open(kind: Kind, client: &Client, conversation: &Value, cursor: &str) -> Self {
        match kind {
            Kind::Events => {
                let stream = TcpStream::connect(client.base().trim_start_matches("http://"))
                    .await
                    .unwrap();
                stream.set_nodelay(true).unwrap();
                let mut stream = BufReader::with_capacity(4096, stream);
                let token = client.token.as_ref().unwrap();
                let request = format!(
                    "GET /events?after={cursor} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
                );
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut watching = Self::Events(stream);
                // After the answer's head comes how long to wait before coming back.
                watching.line("retry: ").await;
                watching
            }
            Kind::Sockets => {
                let path = format!("/chat/ws/{conversation}?after={cursor}");
                Self::Socket(RawSocket::open(client, &path).await)
            }
        }
    }

    /// Where everything stands now.
    pub async fn cursor(client: &Client) -> String {
        Self::open(Kind::Events, client, &Value::Null, "")
            .await
            .line("id: ")
            .await
    }

    /// The next event, as JSON.
    pub async fn next(&mut self) -> String {
        match self {
            Self::Events(_) => self.line("data: ").await,
            Self::Socket(socket) => loop {
                match socket.next().await.unwrap() {
                    (TEXT, event) => return String::from_utf8(event).unwrap(),
                    _ => continue,
                }
            },
        }
    }

    /// The rest of the next line that begins like this.
    async fn line(&mut self, mark: &str) -> String {
        let Self::Events(stream) = self else {
            unreachable!("sockets have no lines")
        };
        let mut line = String::new();
        loop {
            line.clear();
            assert!(stream.read_line(&mut line).await.unwrap() > 0, "the stream has ended");
            if let Some(rest) = line.strip_prefix(mark) {
                return rest.trim_end().to_owned();
            }
        }
    }
}

/// The type of an event.
pub fn kind_of(event: &str) -> &str {
    between(event, "\"type\":\"", "\"")
}

/// A connection is a file here and one in the server, which inherits the limit.
pub fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}
