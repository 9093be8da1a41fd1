//! The AI service, asked over connections that are kept.
//!
//! The benchmark's own service puts whole events into each HTTP chunk, so the lines between them can be passed over.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// The service and the connections to it that nobody uses at the moment.
pub struct Provider {
    address: String,
    idle: Mutex<Vec<BufReader<TcpStream>>>,
}

/// An answer that the service gives.
pub struct Answer<'a> {
    provider: &'a Provider,
    stream: BufReader<TcpStream>,
    line: String,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Delta<'a>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
}

impl Provider {
    pub fn at(url: &str) -> Self {
        Self {
            address: url.trim_start_matches("http://").to_owned(),
            idle: Mutex::default(),
        }
    }

    /// Asks for an answer.
    pub async fn ask(&self, prompt: &str) -> Answer<'_> {
        let mut stream = self.connection().await;
        let body = json!({ "model": "scripted", "stream": true, "messages": [{ "role": "user", "content": prompt }] });
        let body = body.to_string();
        let (address, length) = (&self.address, body.len());
        let request = format!(
            "POST /chat/completions HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        Answer {
            provider: self,
            stream,
            line: String::new(),
        }
    }

    async fn connection(&self) -> BufReader<TcpStream> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(kept) = kept {
            return kept;
        }
        let stream = TcpStream::connect(&self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        BufReader::new(stream)
    }
}

impl Answer<'_> {
    /// The next token, or the answer's end.
    pub async fn next_token(&mut self) -> Option<String> {
        // The chunk of no bytes is the end.
        while self.next_line().await != "0\r\n" {
            // What is no event with a token is a line of the head or of a chunk, or the event that ends the answer.
            let event = self.line.strip_prefix("data: ").map(serde_json::from_str::<Event>);
            if let Some(Ok(event)) = event
                && let Some(choice) = event.choices.into_iter().next()
                && let Some(token) = choice.delta.content
            {
                return Some(token.into_owned());
            }
        }
        None
    }

    /// Keeps the connection of an answer that has ended.
    pub async fn keep(mut self) {
        self.next_line().await;
        let mut idle = self.provider.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(self.stream);
    }

    async fn next_line(&mut self) -> &str {
        self.line.clear();
        let read = self.stream.read_line(&mut self.line).await.unwrap();
        assert!(read > 0, "the AI service has broken off");
        &self.line
    }
}
