//! A WebSocket of hand-made frames, valid and invalid, on a plain TCP connection (RFC 6455).

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::Client;

/// Longer than anything should take.
const LIMIT: Duration = Duration::from_secs(20);
/// Any key of sixteen bytes; this is the one of RFC 6455, section 1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What proves that the server has read it.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The last frame of a message, or the only one.
pub const FIN: u8 = 0x80;
/// More of the message before.
pub const CONTINUATION: u8 = 0;
/// Text.
pub const TEXT: u8 = 1;
/// Bytes.
pub const BINARY: u8 = 2;
/// Goodbye.
pub const CLOSE: u8 = 8;
/// Is anybody there?
pub const PING: u8 = 9;
/// Yes.
pub const PONG: u8 = 10;

/// A frame as a client sends it.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, payload.len(), 0x80);
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A frame as only a server may send it.
pub fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, payload.len(), 0);
    frame.extend(payload);
    frame
}

/// A whole text message.
pub fn text(payload: &str) -> Vec<u8> {
    frame(FIN | TEXT, payload.as_bytes())
}

/// A goodbye.
pub fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes(), reason].concat())
}

fn head(first: u8, length: usize, masked: u8) -> Vec<u8> {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..=125), _) => vec![first, masked | length],
        (_, Ok(length)) => [&[first, masked | 126][..], &length.to_be_bytes()].concat(),
        _ => [&[first, masked | 127][..], &(length as u64).to_be_bytes()].concat(),
    }
}

/// The head of the request that opens a socket, without its last line; `None` takes a header away.
pub fn request(client: &Client, path: &str, changed: &[(&str, Option<&str>)]) -> String {
    let mut headers = vec![
        ("Host", "localhost".to_owned()),
        ("Upgrade", "websocket".to_owned()),
        ("Connection", "Upgrade".to_owned()),
        ("Sec-WebSocket-Key", KEY.to_owned()),
        ("Sec-WebSocket-Version", "13".to_owned()),
    ];
    headers.extend(
        client
            .token
            .as_ref()
            .map(|token| ("Authorization", format!("Bearer {token}"))),
    );
    for (name, value) in changed {
        headers.retain(|(header, _)| header != name);
        headers.extend(value.map(|value| (*name, value.to_owned())));
    }
    let lines = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    format!("GET {path} HTTP/1.1\r\n{}", lines.collect::<String>())
}

/// An open connection.
pub struct RawSocket(BufReader<TcpStream>);

impl RawSocket {
    /// A connection on which nothing was said.
    pub async fn connect(client: &Client) -> Self {
        let address = client.base().trim_start_matches("http://");
        let stream = TcpStream::connect(address).await.expect("a server");
        stream.set_nodelay(true).expect("a connection");
        Self(BufReader::new(stream))
    }

    /// On a connection that is open.
    pub fn over(stream: TcpStream) -> Self {
        Self(BufReader::new(stream))
    }

    /// The socket of a conversation.
    pub async fn of(client: &Client, conversation: &Value) -> Self {
        Self::open(client, &format!("/chat/ws/{conversation}")).await
    }

    /// A socket at this path.
    pub async fn open(client: &Client, path: &str) -> Self {
        let mut socket = Self::connect(client).await;
        let request = request(client, path, &[]);
        socket.send(format!("{request}\r\n").as_bytes()).await;
        let head = socket.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        socket
    }

    /// Sends bytes in one write; a peer that is gone does not hear them.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
    }

    /// Says that nothing more comes.
    pub async fn send_no_more(&mut self) {
        self.0.shutdown().await.expect("a connection");
    }

    /// The head of an HTTP answer.
    pub async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.expect("a whole head"));
        }
        String::from_utf8(head).expect("UTF-8")
    }

    /// As many bytes of an HTTP answer.
    pub async fn body(&mut self, length: usize) -> Vec<u8> {
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.expect("a whole body");
        body
    }

    /// The next frame: its opcode and what it carries; `None` at the end of the connection.
    pub async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        tokio::time::timeout(LIMIT, self.read()).await.expect("a frame").ok()
    }

    async fn read(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let first = self.0.read_u8().await?;
        assert_eq!(
            first & 0xf0,
            FIN,
            "fragments and reserved bits are not the server's way"
        );
        let length = match self.0.read_u8().await? {
            short @ 0..=125 => usize::from(short),
            126 => usize::from(self.0.read_u16().await?),
            127 => usize::try_from(self.0.read_u64().await?).expect("a sensible length"),
            _ => panic!("a server masks nothing"),
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await?;
        Ok((first & 0x0f, payload))
    }

    /// The next event.
    pub async fn event(&mut self) -> Value {
        match self.next().await {
            Some((TEXT, payload)) => serde_json::from_slice(&payload).expect("JSON"),
            other => panic!("no event: {other:?}"),
        }
    }

    /// What the server says goodbye with, after which it lets go; `None` when it goes without a word. Whatever comes before
    /// it is left.
    pub async fn closed(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.next().await {
                Some((CLOSE, payload)) => {
                    assert_eq!(self.next().await, None, "nothing comes after a goodbye");
                    return Some(payload);
                }
                Some(_) => {}
                None => return None,
            }
        }
    }

    /// The code of the goodbye.
    pub async fn close_code(&mut self) -> Option<u16> {
        let goodbye = self.closed().await?;
        Some(u16::from_be_bytes([goodbye[0], goodbye[1]]))
    }
}
