//! Text where it does not belong: an answer must not have a hole because an event has an unknown shape.

use serde_json::{Map, Value};

use super::content::is_thought;
use crate::ai::error::Failure;

/// What the fields are called in which servers send text.
const TEXT_KEYS: [&str; 7] = ["content", "text", "delta", "response", "completion", "output", "parts"];

/// Parts of the names of fields that hold strings, but none of the answer's text.
const OTHER_KEYS: [&str; 23] = [
    "tool",
    "function",
    "reason",
    "think",
    "thought",
    "citation",
    "annotation",
    "search",
    "logprob",
    "metadata",
    "filter",
    "prompt",
    "usage",
    "ground",
    "context",
    "image",
    "audio",
    "document",
    "source",
    "verbose",
    "instruction",
    "extra_content",
    "provider_specific",
];

/// How deep text is looked for: deeper than any server nests it.
const MAX_DEPTH: usize = 10;

/// What an event is that is neither a part of an answer nor an error.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stray {
    /// It holds this text.
    Text(String),
    /// Thoughts.
    Thoughts,
    /// A sign of life.
    Ping,
    /// It holds no text, and may be anything.
    Unknown,
}

/// What an event of an unknown shape is.
///
/// # Errors
/// [`Failure::Protocol`] when it holds text, but it is not plain which.
pub(crate) fn stray(event: &Value) -> Result<Stray, Failure> {
    let Some(fields) = event.as_object() else {
        return Ok(Stray::Unknown);
    };
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
    if is_thought(kind) {
        return Ok(Stray::Thoughts);
    }
    if is_ping(fields) {
        return Ok(Stray::Ping);
    }
    if let Some(text) = plain(fields, kind) {
        return Ok(Stray::Text(text.to_owned()));
    }
    no_text_beside(fields, &[])?;
    Ok(Stray::Unknown)
}

/// Whether these fields hold no text, apart from those that were read.
///
/// # Errors
/// [`Failure::Protocol`] when they hold some.
pub(crate) fn no_text_beside(fields: &Map<String, Value>, read: &[&str]) -> Result<(), Failure> {
    let mut others = fields.iter().filter(|(key, _)| !read.contains(&key.as_str()));
    if others.any(|(key, value)| field_holds_text(key, value, 0)) {
        return Err(Failure::Protocol("text in a form that is not known"));
    }
    Ok(())
}

/// The one text of an event that says nothing of what else it could be.
fn plain<'a>(fields: &'a Map<String, Value>, kind: &str) -> Option<&'a str> {
    let is_part = matches!(
        kind,
        "" | "completion" | "text" | "token" | "chunk" | "content" | "message"
    ) || kind.ends_with("delta");
    let is_models = match fields.get("role") {
        None | Some(Value::Null) => true,
        Some(role) => role == "assistant" || role == "model",
    };
    let mut texts = fields.iter().filter(|(key, value)| field_holds_text(key, value, 0));
    match (texts.next(), texts.next()) {
        (Some((_, Value::String(text))), None) if is_part && is_models => Some(text),
        _ => None,
    }
}

fn field_holds_text(key: &str, value: &Value, depth: usize) -> bool {
    if OTHER_KEYS.iter().any(|other| key.contains(other)) {
        return false;
    }
    holds_text(value, TEXT_KEYS.contains(&key), depth)
}

fn holds_text(value: &Value, is_text: bool, depth: usize) -> bool {
    match value {
        Value::String(text) => is_text && !text.is_empty(),
        // Too deep to look: it may hold text.
        Value::Array(values) if depth >= MAX_DEPTH => !values.is_empty(),
        Value::Object(fields) if depth >= MAX_DEPTH => !fields.is_empty(),
        Value::Array(values) => values.iter().any(|value| holds_text(value, is_text, depth + 1)),
        Value::Object(fields) => {
            let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
            let is_thought = is_thought(kind) || fields.get("thought").is_some_and(|thought| thought == true);
            !is_thought
                && fields
                    .iter()
                    .any(|(key, value)| field_holds_text(key, value, depth + 1))
        }
        _ => false,
    }
}

/// Whether it only shows that the server is there: it says so, or states nothing but what every event states.
fn is_ping(fields: &Map<String, Value>) -> bool {
    let names_one = |name: &str| {
        let name = name.to_ascii_lowercase().replace(['-', '_'], "");
        ["ping", "heartbeat", "keepalive"].contains(&name.as_str())
    };
    let is_metadata = |key: &str| {
        matches!(
            key,
            "id" | "object" | "created" | "model" | "system_fingerprint" | "service_tier" | "provider" | "choices"
        )
    };
    ["type", "event", "object", "status"]
        .iter()
        .any(|key| fields.get(*key).and_then(Value::as_str).is_some_and(names_one))
        || fields.keys().any(|key| names_one(key))
        || fields.keys().all(|key| is_metadata(key))
            && fields
                .get("choices")
                .is_none_or(|choices| !super::content::says_something(choices))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_is_found_wherever_servers_put_it() {
        for event in [
            json!({"response": "a"}),
            json!({"content": "a", "stop": false}),
            json!({"type": "response.output_text.delta", "delta": "a"}),
            json!({"type": "completion", "completion": "a", "stop_reason": null}),
        ] {
            assert_eq!(stray(&event).unwrap(), Stray::Text("a".to_owned()), "{event}");
        }
        for event in [
            json!({"token": {"text": "a"}}),
            json!({"output": {"text": "a"}}),
            json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "a"}]}}]}),
            json!({"message": {"role": "assistant", "content": "a"}}),
            json!({"choices": [{"delta": {"content": "a"}}]}),
            json!({"content": "a", "text": "b"}),
            json!({"type": "response.output_text.done", "text": "a"}),
            json!({"role": "user", "content": "a"}),
        ] {
            assert!(stray(&event).is_err(), "{event}");
        }
    }

    #[test]
    fn what_is_no_text_is_none() {
        for (event, wanted) in [
            (json!({}), Stray::Ping),
            (json!({"type": "ping"}), Stray::Ping),
            (json!({"ping": true}), Stray::Ping),
            (
                json!({"id": "a", "object": "chat.completion.chunk", "created": 1}),
                Stray::Ping,
            ),
            (
                json!({"type": "response.reasoning_text.delta", "delta": "a"}),
                Stray::Thoughts,
            ),
            (json!({"type": "vertex_event"}), Stray::Unknown),
            (json!({"message": "Internal error"}), Stray::Unknown),
            (
                json!({"content": "", "delta": {}, "prompt_filter_results": [{"content": "a"}]}),
                Stray::Unknown,
            ),
            (
                json!({"type": "response.created", "response": {"text": {"format": {"type": "text"}}}}),
                Stray::Unknown,
            ),
            (json!({"citations": [{"text": "a"}]}), Stray::Unknown),
        ] {
            assert_eq!(stray(&event).unwrap(), wanted, "{event}");
        }
    }
}
