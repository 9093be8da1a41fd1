//! Events of chat completions that are not as OpenAI sends them: fields of other types, keys that come twice, a whole message
//! instead of a delta, errors in every shape.

use serde_json::{Map, Value};

use super::chunk::{end_word, failure};
use crate::ai::error::Failure;
use crate::ai::protocol::content::{Content, says_something};
use crate::ai::protocol::reading::{self, Reading, error_in};
use crate::ai::protocol::reported_tokens::{reasoning_tokens, reported_tokens};
use crate::ai::stream::completion_stream::ProtocolEvent;

/// Thoughts, and other content that is no text.
const THOUGHTS: [&str; 7] = [
    "reasoning_content",
    "reasoning",
    "reasoning_text",
    "reasoning_details",
    "thinking",
    "tool_calls",
    "function_call",
];

/// Reads an event of this name.
///
/// # Errors
/// As [`super::chunk::read`].
pub(super) fn read(name: &str, data: &str) -> Result<Reading, Failure> {
    let mut event = match reading::json(data) {
        Ok(event) => event,
        Err(_) if name == "error" => return Err(failure(Value::String(data.to_owned()))),
        Err(Some(failure)) => return Err(failure),
        Err(None) => return Ok(Reading::Junk),
    };
    // Gemini puts an error into a list.
    if let Value::Array(events) = &mut event
        && events.len() == 1
    {
        event = events.pop().unwrap_or_default();
    }
    if name == "error" {
        return Err(failure(error_in(&mut event).unwrap_or(event)));
    }
    let choice = choice(&mut event);
    // Beside text, an error comes after it.
    let error = match choice {
        Choice::Some(_) => event.get_mut("error").map(Value::take).filter(says_something),
        _ => error_in(&mut event),
    };
    match (choice, error) {
        (Choice::Some(choice), error) => read_choice(&event, choice, error).map(Reading::event),
        (_, Some(error)) => Err(failure(error)),
        (Choice::Wrong, None) => Ok(Reading::Junk),
        (Choice::None, None) if event.get("usage").is_some_and(says_something) => Ok(Reading::event(counts(&event))),
        // Azure's first event says what it thinks of the prompt.
        (Choice::None, None) if event.get("choices").is_some() => Ok(Reading::event(counts(&event))),
        (Choice::None, None) if event.is_object() => Ok(Reading::Keepalive),
        (Choice::None, None) => Ok(Reading::Junk),
    }
}

/// The first choice of an event.
enum Choice {
    Some(Map<String, Value>),
    None,
    /// What is there is no choice.
    Wrong,
}

fn choice(event: &mut Value) -> Choice {
    let choice = match event.get_mut("choices").map(Value::take) {
        None | Some(Value::Null) => return Choice::None,
        Some(Value::Array(choices)) if choices.is_empty() => return Choice::None,
        Some(Value::Array(choices)) => choices.into_iter().next(),
        Some(choice) => Some(choice),
    };
    match choice {
        Some(Value::Object(choice)) => Choice::Some(choice),
        _ => Choice::Wrong,
    }
}

/// What an event says beside its choice.
fn counts(event: &Value) -> ProtocolEvent {
    let usage = event.get("usage").unwrap_or(&Value::Null);
    ProtocolEvent {
        input_tokens: reported_tokens(usage, "prompt_tokens"),
        output_tokens: reported_tokens(usage, "completion_tokens"),
        reasoning_tokens: reasoning_tokens(usage),
        model: event.get("model").and_then(Value::as_str).map(str::to_owned),
        ..ProtocolEvent::default()
    }
}

fn read_choice(event: &Value, mut choice: Map<String, Value>, error: Option<Value>) -> Result<ProtocolEvent, Failure> {
    let mut content = Content::default();
    let said = ["delta", "message", "text"]
        .iter()
        .find_map(|key| choice.get(*key).filter(|said| !said.is_null()));
    match said {
        Some(Value::Object(said)) => {
            content.add(said.get("content").unwrap_or(&Value::Null))?;
            if content.text.is_empty() {
                content.add(said.get("refusal").unwrap_or(&Value::Null))?;
            }
            content.has_thoughts |= THOUGHTS.iter().any(|key| said.get(*key).is_some_and(says_something));
        }
        Some(said) => content.add(said)?,
        None => {}
    }
    let native = choice.get("native_finish_reason").and_then(Value::as_str);
    let end_word = end_word(choice.get("finish_reason").and_then(word), native);
    let error = error.or_else(|| choice.remove("error").filter(says_something));
    Ok(ProtocolEvent {
        has_thoughts: content.has_thoughts,
        text: content.into_text(),
        end_word,
        failure: error.map(failure),
        ..counts(event)
    })
}

/// The word of a reason: a text, or an object that holds one.
fn word(reason: &Value) -> Option<&str> {
    let named = || {
        ["type", "reason", "name"]
            .iter()
            .find_map(|key| reason.get(*key)?.as_str())
    };
    reason.as_str().or_else(named)
}
