//! The events of Anthropic's messages. Compatible servers deviate from them, so they are read leniently.

use serde::Deserialize;
use serde_json::Value;

use super::error_response;
use crate::ai::error::Failure;
use crate::ai::protocol::content::{Content, is_thought, says_something};
use crate::ai::protocol::error_response::ErrorResponse;
use crate::ai::protocol::reading::{self, Reading, error_in, is_error_name};
use crate::ai::protocol::reported_tokens::{reasoning_tokens, reported_tokens};
use crate::ai::protocol::stray_text::{Stray, stray};
use crate::ai::stream::completion_stream::ProtocolEvent;
use crate::ai::stream::end_word::EndWord;
use crate::ai::stream::surrogates::Wtf8Text;

/// The event that an answer consists of mostly.
#[derive(Deserialize)]
struct TextDelta {
    r#type: DeltaEvent,
    delta: Text,
}

#[derive(Deserialize)]
enum DeltaEvent {
    #[serde(rename = "content_block_delta")]
    ContentBlockDelta,
}

#[derive(Deserialize)]
struct Text {
    r#type: TextType,
    text: Wtf8Text,
}

#[derive(Deserialize)]
enum TextType {
    #[serde(rename = "text_delta")]
    TextDelta,
}

/// Reads an event of this name. Tokens of the prompt are reported at the beginning of an answer, tokens of the answer at its
/// end.
///
/// # Errors
/// The failure that the event tells of, or [`Failure::Protocol`] when it may hold text that cannot be read.
pub(super) fn read(name: &str, data: &str) -> Result<Reading, Failure> {
    if let Ok(TextDelta {
        r#type: DeltaEvent::ContentBlockDelta,
        delta: Text {
            r#type: TextType::TextDelta,
            text,
        },
    }) = serde_json::from_str(data)
    {
        return Ok(Reading::event(ProtocolEvent {
            text: Some(text),
            ..ProtocolEvent::default()
        }));
    }
    let event = match reading::json(data) {
        Ok(event) => event,
        Err(_) if is_error_name(name) => return Err(failure(Value::String(data.to_owned()))),
        // Gateways that speak both protocols end both alike.
        Err(_) if data.trim() == "[DONE]" => return Ok(Reading::event(done())),
        Err(Some(failure)) => return Err(failure),
        Err(None) => return Ok(Reading::Junk),
    };
    read_value(name, event)
}

fn read_value(name: &str, mut event: Value) -> Result<Reading, Failure> {
    // `message` is what every event is called that has no name.
    let name = if name == "message" { "" } else { name };
    let kind = event.get("type").and_then(Value::as_str).unwrap_or(name).to_owned();
    let field = |key: &str| event.get(key).unwrap_or(&Value::Null);
    let mut read = ProtocolEvent::default();
    let mut content = Content::default();
    match &*kind {
        "message_start" if !field("message").is_object() => return Ok(Reading::Junk),
        "message_start" => {
            let message = field("message");
            content.add(message.get("content").unwrap_or(&Value::Null))?;
            read.model = model(message);
            // Its count of the answer is only of the first tokens.
            read.input_tokens = input_tokens(usage(message));
        }
        "content_block_start" => add_block(field("content_block"), &mut content)?,
        "content_block_delta" => add_block(field("delta"), &mut content)?,
        "content_block_stop" => {}
        "message_delta" => {
            let delta = field("delta");
            // Some servers put it beside the delta.
            let reason = delta.get("stop_reason").filter(|reason| !reason.is_null());
            read.end_word = reason
                .or(event.get("stop_reason"))
                .and_then(Value::as_str)
                .and_then(EndWord::of);
            add_counts(&event, &mut read);
            let error = delta.get("error").filter(|error| says_something(error));
            read.failure = error.cloned().map(failure);
        }
        "message_stop" => read.done = true,
        // The whole answer, though a stream was asked for.
        "message" => {
            content.add(field("content"))?;
            read.model = model(&event);
            read.end_word = field("stop_reason").as_str().and_then(EndWord::of);
            add_counts(&event, &mut read);
        }
        _ => {
            return match error_in(&mut event) {
                Some(error) => Err(failure(error)),
                None if is_error_name(&kind) => Err(failure(event)),
                None if kind == "ping" => Ok(Reading::Keepalive),
                None if event.is_object() => read_stray(&event),
                None => Ok(Reading::Junk),
            };
        }
    }
    read.has_thoughts = content.has_thoughts;
    read.text = content.into_text();
    Ok(Reading::event(read))
}

/// Reads an event of a type that we do not know; more may be added.
fn read_stray(event: &Value) -> Result<Reading, Failure> {
    Ok(match stray(event)? {
        Stray::Text(text) => Reading::event(ProtocolEvent {
            text: Some(text.into()),
            ..ProtocolEvent::default()
        }),
        Stray::Thoughts => Reading::event(ProtocolEvent {
            has_thoughts: true,
            ..ProtocolEvent::default()
        }),
        Stray::Ping => Reading::Keepalive,
        Stray::Unknown => Reading::Unknown,
    })
}

/// Adds what a block, or a part of one, holds. Thoughts, signatures and arguments of tools are progress without text.
fn add_block(block: &Value, content: &mut Content) -> Result<(), Failure> {
    let kind = block.get("type").and_then(Value::as_str).unwrap_or_default();
    if is_thought(kind)
        || ["json", "citation", "tool", "compaction"]
            .iter()
            .any(|word| kind.contains(word))
    {
        content.has_thoughts = true;
        return Ok(());
    }
    content.add(block)
}

fn done() -> ProtocolEvent {
    ProtocolEvent {
        done: true,
        ..ProtocolEvent::default()
    }
}

fn model(message: &Value) -> Option<String> {
    message.get("model").and_then(Value::as_str).map(str::to_owned)
}

fn usage(message: &Value) -> &Value {
    message.get("usage").unwrap_or(&Value::Null)
}

fn add_counts(message: &Value, event: &mut ProtocolEvent) {
    let usage = usage(message);
    event.input_tokens = input_tokens(usage);
    event.output_tokens = reported_tokens(usage, "output_tokens");
    event.reasoning_tokens = reasoning_tokens(usage);
}

/// Tokens of the prompt, cached ones included.
fn input_tokens(usage: &Value) -> Option<i64> {
    let cached = ["cache_creation_input_tokens", "cache_read_input_tokens"];
    let cached: i64 = cached.iter().filter_map(|key| reported_tokens(usage, key)).sum();
    reported_tokens(usage, "input_tokens").map(|input| input + cached)
}

/// What an error within an answer means.
fn failure(error: Value) -> Failure {
    error_response::classify(&ErrorResponse::in_stream(error), None)
}
