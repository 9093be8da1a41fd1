//! People who chat at a human pace.

use std::time::{Duration, Instant};

use cura_tests::Client;
use reqwest::Method;
use serde_json::{Value, json};

/// From one message to the next: nine a minute.
const PACE: Duration = Duration::from_millis(6500);

/// What people have seen.
#[derive(Default)]
pub struct Seen {
    /// From sending to the first chunk, in order.
    pub first_tokens: Vec<Duration>,
    /// Statuses of 500 and more.
    pub server_errors: usize,
    /// 429 and other refusals.
    pub refused: usize,
    /// Answers that did not complete.
    pub broken: usize,
}

impl Seen {
    pub fn of_all(all: Vec<Self>) -> Self {
        let mut sum = Self::default();
        for seen in all {
            sum.first_tokens.extend(seen.first_tokens);
            sum.server_errors += seen.server_errors;
            sum.refused += seen.refused;
            sum.broken += seen.broken;
        }
        sum.first_tokens.sort();
        sum
    }
}

/// Sends a message every few seconds, in one conversation, and reads its answer.
pub async fn chat(person: &Client, n: usize, length: Duration) -> Seen {
    let mut seen = Seen::default();
    let began = Instant::now();
    // People do not all press the key at once.
    tokio::time::sleep(PACE * u32::try_from(n % 50).unwrap() / 50).await;
    let mut conversation = Value::Null;
    while began.elapsed() < length {
        let asked = Instant::now();
        let body = json!({ "conversation_id": conversation, "content": "How are you?" });
        let request = person.request(Method::POST, "/chat/stream").json(&body);
        match person.try_events(request).await {
            Some(Ok(mut events)) => {
                let (mut first, mut is_complete) = (None, false);
                while let Some(frame) = events.next_frame().await {
                    if frame.starts_with("event: chunk") {
                        first.get_or_insert_with(|| asked.elapsed());
                    } else if frame.starts_with("event: ack") {
                        let data = frame.split_once("data: ").map_or("", |(_, data)| data);
                        let ack: Value = serde_json::from_str(data.trim()).unwrap_or_default();
                        conversation = ack["conversation_id"].clone();
                    }
                    is_complete |= frame.starts_with("event: complete");
                }
                seen.first_tokens.extend(first);
                seen.broken += usize::from(!is_complete);
            }
            Some(Err(reply)) if reply.status.as_u16() >= 500 => seen.server_errors += 1,
            Some(Err(_)) => seen.refused += 1,
            None => seen.broken += 1,
        }
        tokio::time::sleep(PACE.saturating_sub(asked.elapsed())).await;
    }
    seen
}
