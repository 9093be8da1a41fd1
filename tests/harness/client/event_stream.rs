//! A stream of events, as it is read.

use futures_util::StreamExt;
use reqwest::header::HeaderMap;
use serde_json::Value;

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

impl Events {
    pub(super) fn of(response: reqwest::Response) -> Self {
        let headers = response.headers().clone();
        let body = response
            .bytes_stream()
            .map(|part| part.map(|bytes| bytes.to_vec()))
            .boxed();
        Self {
            body,
            buffer: Vec::new(),
            comments: 0,
            headers,
            cursor: None,
        }
    }

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
    pub async fn wait_for_cursor(&mut self) -> bool {
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

    /// The next `count` events.
    pub async fn take(&mut self, count: usize) -> Vec<Event> {
        let mut seen = Vec::new();
        while seen.len() < count {
            let next = self.next().await;
            seen.push(next.unwrap_or_else(|| panic!("the stream ended after {seen:?}")));
        }
        seen
    }

    /// Events up to and including the one that completes this text, which nothing was seen of before.
    pub async fn until_text(&mut self, text: &str) -> Vec<Event> {
        let mut seen = Vec::new();
        while text_after("", &seen) != text {
            let next = self.next().await;
            seen.push(next.unwrap_or_else(|| panic!("the stream ended before {text:?}: {seen:?}")));
        }
        seen
    }

    /// Events until the text holds this word. Words that wait are sent together, so how many events that takes varies.
    pub async fn until_word(&mut self, word: &str) -> Vec<Event> {
        let mut seen = Vec::new();
        while !text_after("", &seen).contains(word) {
            let next = self.next().await;
            seen.push(next.unwrap_or_else(|| panic!("the stream ended before {word:?}: {seen:?}")));
        }
        seen
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

/// What these events are called.
pub fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
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
