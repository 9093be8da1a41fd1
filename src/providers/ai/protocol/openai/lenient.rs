//! Events of chat completions that are not as OpenAI sends them: fields of other types, keys that come twice, a whole message
//! instead of a delta, errors in every shape.

use serde_json::{Map, Value};

use super::chunk::{end_word, failure};
use crate::ai::error::Failure;
use crate::ai::protocol::content::{Content, REFUSAL, says_something};
use crate::ai::protocol::reading::{self, Reading, error_in, is_error_name};
use crate::ai::protocol::reported_tokens::{reasoning_tokens, reported_tokens};
use crate::ai::protocol::stray_text::{Stray, no_text_beside, stray};
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

/// Where a choice has what the model said: the first one with text counts.
const PLACES: [&str; 4] = ["delta", "message", "text", "content"];

/// Where a delta or message has its text.
const PLACES_WITHIN: [&str; 3] = ["content", REFUSAL, "text"];

/// Reads an event of this name.
///
/// # Errors
/// As [`super::chunk::read`].
pub(super) fn read(name: &str, data: &str) -> Result<Reading, Failure> {
    let mut event = match reading::json(data) {
        Ok(event) => event,
        Err(_) if is_error_name(name) => return Err(failure(Value::String(data.to_owned()))),
        Err(Some(failure)) => return Err(failure),
        Err(None) => return Ok(Reading::Junk),
    };
    // Gemini puts an error into a list.
    if let Value::Array(events) = &mut event
        && events.len() == 1
    {
        event = events.pop().unwrap_or_default();
    }
    if is_error_name(name) {
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
        (Choice::None, None) if !event.is_object() => Ok(Reading::Junk),
        (Choice::None, None) => read_stray(&event),
    }
}

/// Reads an event without a choice.
fn read_stray(event: &Value) -> Result<Reading, Failure> {
    let mut read = counts(event);
    match stray(event)? {
        Stray::Text(text) => read.text = Some(text.into()),
        Stray::Thoughts => read.has_thoughts = true,
        Stray::Ping | Stray::Unknown
            // Azure's first event says what it thinks of the prompt.
            if event.get("usage").is_some_and(says_something) || event.get("choices").is_some() => {}
        Stray::Ping => return Ok(Reading::Keepalive),
        Stray::Unknown => return Ok(Reading::Unknown),
    }
    Ok(Reading::event(read))
}

/// The first choice of an event; others are other answers.
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
        Some(Value::Array(choices)) => {
            let are_choices = choices.iter().all(Value::is_object);
            match choices.into_iter().find(|choice| !are_choices || is_first(choice)) {
                Some(choice) => choice,
                None => return Choice::None,
            }
        }
        Some(choice) => choice,
    };
    match choice {
        Value::Object(choice) => Choice::Some(choice),
        _ => Choice::Wrong,
    }
}

fn is_first(choice: &Value) -> bool {
    let index = choice.get("index").unwrap_or(&Value::Null);
    let index = index.as_u64().or_else(|| index.as_str()?.parse().ok());
    index.is_none_or(|index| index == 0)
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
    let error = error.or_else(|| choice.remove("error").filter(says_something));
    let error = error.or_else(|| error_of_delta(&mut choice));
    let mut has_thoughts = false;
    let mut text = None;
    let (mut is_message, mut is_refusal) = (false, false);
    for key in PLACES {
        let Some(said) = choice.get(key) else { continue };
        let content = said_in(said)?;
        has_thoughts |= content.has_thoughts;
        if text.is_none() {
            is_refusal = content.is_refusal;
            text = content.into_text();
            is_message = text.is_some() && key == "message";
        }
    }
    if text.is_none() {
        no_text_beside(&choice, &PLACES)?;
        if let Some(event) = event.as_object() {
            no_text_beside(event, &["choices"])?;
        }
    }
    let native = choice.get("native_finish_reason").and_then(Value::as_str);
    Ok(ProtocolEvent {
        has_thoughts,
        text,
        is_message,
        is_refusal,
        end_word: end_word(choice.get("finish_reason").and_then(word), native),
        failure: error.map(failure),
        ..counts(event)
    })
}

fn error_of_delta(choice: &mut Map<String, Value>) -> Option<Value> {
    let error = choice.get_mut("delta")?.get_mut("error")?;
    says_something(error).then(|| error.take())
}

/// What a delta or message holds, or the text that stands for one.
fn said_in(said: &Value) -> Result<Content, Failure> {
    let mut content = Content::default();
    let Value::Object(said) = said else {
        content.add(said)?;
        return Ok(content);
    };
    for key in PLACES_WITHIN {
        if content.text.is_empty() {
            content.add(said.get(key).unwrap_or(&Value::Null))?;
            content.is_refusal |= key == REFUSAL && !content.text.is_empty();
        }
    }
    if content.text.is_empty() {
        no_text_beside(said, &PLACES_WITHIN)?;
    }
    content.has_thoughts |= THOUGHTS.iter().any(|key| said.get(*key).is_some_and(says_something));
    Ok(content)
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
