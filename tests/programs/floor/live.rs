//! Redis between the worker and the server: one channel, one message for each token.
//!
//! A message is a line of its own, so its reader needs to know no more of Redis' protocol than lines.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Begins the line of a message, and no other line that Redis sends.
const MARK: char = '>';

/// A token of an answer as the data of an event, or its end.
pub struct Message {
    pub answer: i64,
    /// JSON in one line; empty at the end.
    pub data: String,
}

async fn connect(url: &str) -> TcpStream {
    let stream = TcpStream::connect(url.trim_start_matches("redis://")).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Publishes what comes. What came while Redis took the last write leaves in one write.
pub async fn publish(redis: &str, mut messages: mpsc::Receiver<Message>) {
    let (mut replies, mut commands) = connect(redis).await.into_split();
    // Nobody waits for the replies, which say how many have heard.
    tokio::spawn(async move { tokio::io::copy(&mut replies, &mut tokio::io::sink()).await });
    let (mut waiting, mut write) = (Vec::new(), String::new());
    while messages.recv_many(&mut waiting, 512).await > 0 {
        write.clear();
        for Message { answer, data } in waiting.drain(..) {
            let line = format!("{MARK}{answer} {data}");
            let length = line.len();
            write.push_str(&format!(
                "*3\r\n$7\r\nPUBLISH\r\n$6\r\ntokens\r\n${length}\r\n{line}\r\n"
            ));
        }
        commands.write_all(write.as_bytes()).await.unwrap();
    }
}

/// Gives each message, its answer and its data, to `hear`.
pub async fn subscribe(redis: &str, hear: impl Fn(i64, &str)) {
    let mut stream = connect(redis).await;
    stream.write_all(b"SUBSCRIBE tokens\r\n").await.unwrap();
    let (mut stream, mut line) = (BufReader::with_capacity(64 * 1024, stream), String::new());
    while stream.read_line(&mut line).await.unwrap() > 0 {
        if let Some(message) = line.strip_prefix(MARK) {
            let (answer, data) = message.trim_end().split_once(' ').unwrap_or((message.trim_end(), ""));
            hear(answer.parse().unwrap(), data);
        }
        line.clear();
    }
    panic!("Redis is gone");
}
