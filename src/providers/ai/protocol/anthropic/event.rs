//! The events of Anthropic's messages.

use cura_domain::message::FinishReason;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error_response;
use crate::ai::error::Failure;
use crate::ai::protocol::error_response::ErrorResponse;
use crate::ai::protocol::reported_tokens::reported_tokens;
use crate::ai::stream::completion_stream::ProtocolEvent;
use crate::ai::stream::surrogates::Wtf8Text;

#[derive(Deserialize)]
struct Kind {
    r#type: String,
}

#[derive(Deserialize)]
struct MessageStart {
    message: Start,
}

#[derive(Deserialize)]
struct Start {
    #[serde(default)]
    model: Option<String>,
    /// Only its counts are read, here and below: a malformed one does not fail the answer.
    #[serde(default)]
    usage: Value,
}

#[derive(Deserialize)]
struct BlockDelta {
    delta: Delta,
}

#[derive(Deserialize)]
struct Delta {
    r#type: String,
    #[serde(default)]
    text: Option<Wtf8Text>,
}

#[derive(Deserialize)]
struct MessageDelta {
    #[serde(default)]
    delta: Option<End>,
    #[serde(default)]
    usage: Value,
}

#[derive(Deserialize)]
struct End {
    #[serde(default)]
    stop_reason: Option<String>,
}

/// Decodes an event; `None` for a keepalive, which does not even show that the model is at work. Tokens of the prompt are
/// reported at the beginning of an answer, tokens of the answer at its end.
pub(crate) fn decode(event: &str) -> Result<Option<ProtocolEvent>, Failure> {
    let mut decoded = ProtocolEvent::default();
    match &*parse::<Kind>(event)?.r#type {
        "message_start" => {
            let start = parse::<MessageStart>(event)?.message;
            decoded.model = start.model;
            // Its count of the answer is only of the first tokens.
            decoded.input_tokens = input_tokens(&start.usage);
        }
        "content_block_delta" => {
            let delta = parse::<BlockDelta>(event)?.delta;
            // Other deltas are thoughts, signatures and tool arguments: progress without text.
            decoded.text = delta.text.filter(|_| delta.r#type == "text_delta");
        }
        "message_delta" => {
            let delta = parse::<MessageDelta>(event)?;
            decoded.finish = delta
                .delta
                .and_then(|end| end.stop_reason)
                .as_deref()
                .map(finish_reason);
            decoded.input_tokens = input_tokens(&delta.usage);
            decoded.output_tokens = reported_tokens(&delta.usage, "output_tokens");
        }
        "message_stop" => decoded.done = true,
        "content_block_start" | "content_block_stop" => {}
        "error" => {
            let error = parse::<Value>(event)?.get_mut("error").map(Value::take);
            let error = ErrorResponse::in_stream(error.unwrap_or_default());
            return Err(error_response::classify(&error, None));
        }
        // `ping`, and event types that may be added.
        _ => return Ok(None),
    }
    Ok(Some(decoded))
}

/// Tokens of the prompt, cached ones included.
fn input_tokens(usage: &Value) -> Option<i64> {
    let cached = ["cache_creation_input_tokens", "cache_read_input_tokens"];
    let cached: i64 = cached.iter().filter_map(|key| reported_tokens(usage, key)).sum();
    reported_tokens(usage, "input_tokens").map(|input| input + cached)
}

fn parse<T: DeserializeOwned>(event: &str) -> Result<T, Failure> {
    serde_json::from_str(event).map_err(|_| Failure::Protocol("an event that does not follow the protocol"))
}

fn finish_reason(reason: &str) -> FinishReason {
    match reason {
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "refusal" => FinishReason::ContentFilter,
        // `end_turn`, `stop_sequence`, `pause_turn`, `tool_use`: the model had finished.
        _ => FinishReason::Stop,
    }
}
