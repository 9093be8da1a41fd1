//! The same provider with Anthropic's protocol.

use std::time::Duration;

use serde_json::{Value, json};

use super::Step;

/// The steps of a good answer: 7 tokens of input, 2 of them from a cache, and one of output for each text.
pub fn answer(texts: &[&str], apart: Duration) -> Vec<Step> {
    let mut steps = begin();
    for text in texts {
        steps.push(Step::Write(delta(text)));
        steps.push(Step::Pause(apart));
    }
    steps.extend(finish("end_turn", texts.len()));
    steps
}

/// The head and the beginning of an answer, before any text.
pub fn begin() -> Vec<Step> {
    let usage = json!({ "input_tokens": 4, "cache_creation_input_tokens": 1, "cache_read_input_tokens": 2, "output_tokens": 1 });
    let start = json!({ "type": "message_start", "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-scripted", "content": [], "usage": usage,
    } });
    let block = json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } });
    vec![
        Step::Head,
        Step::Write(event(&start) + &event(&block) + &event(&json!({ "type": "ping" }))),
    ]
}

/// A piece of text, as an event.
pub fn delta(text: &str) -> String {
    event(&json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": text } }))
}

/// The end of an answer that stops for this reason.
pub fn finish(reason: &str, tokens: usize) -> Vec<Step> {
    let delta = json!({
        "type": "message_delta", "delta": { "stop_reason": reason, "stop_sequence": null }, "usage": { "output_tokens": tokens },
    });
    let events = [
        json!({ "type": "content_block_stop", "index": 0 }),
        delta,
        json!({ "type": "message_stop" }),
    ];
    vec![Step::Write(events.iter().map(event).collect()), Step::End]
}

/// Any object as an event, named by its type.
pub fn event(data: &Value) -> String {
    format!(
        "event: {}\ndata: {data}\n\n",
        data["type"].as_str().unwrap_or("message")
    )
}

/// The body of a refusal.
pub fn error(kind: &str, message: &str) -> Value {
    json!({ "type": "error", "error": { "type": kind, "message": message } })
}
