//! The events of an answer, and what they say.

use cura_domain::message::FinishReason;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error_response;
use crate::ai::error::Failure;
use crate::ai::protocol::error_response::Refusal;
use crate::ai::stream::completion_stream::{Signal, count};
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
    /// Looked at only for its counts, here and below: nonsense in it spoils no answer.
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

/// What an event says; `None` when it says nothing, not even that the model is at work. What a prompt cost comes at the
/// beginning of an answer, what the answer cost at its end.
pub(crate) fn read(event: &str) -> Result<Option<Signal>, Failure> {
    let mut signal = Signal::default();
    match &*parse::<Kind>(event)?.r#type {
        "message_start" => {
            let start = parse::<MessageStart>(event)?.message;
            signal.model = start.model;
            // Of the answer, it states a beginning.
            signal.input_tokens = input_tokens(&start.usage);
        }
        "content_block_delta" => {
            let delta = parse::<BlockDelta>(event)?.delta;
            // Others are thoughts, signatures and arguments of tools: work, but nothing to read.
            signal.text = delta.text.filter(|_| delta.r#type == "text_delta");
        }
        "message_delta" => {
            let delta = parse::<MessageDelta>(event)?;
            signal.finish = delta.delta.and_then(|end| end.stop_reason).as_deref().map(finish);
            signal.input_tokens = input_tokens(&delta.usage);
            signal.output_tokens = count(&delta.usage, "output_tokens");
        }
        "message_stop" => signal.done = true,
        "content_block_start" | "content_block_stop" => {}
        "error" => {
            let error = parse::<Value>(event)?.get_mut("error").map(Value::take);
            return Err(error_response::judge(&Refusal::within(error.unwrap_or_default())));
        }
        // `ping`, and what the interface may add one day.
        _ => return Ok(None),
    }
    Ok(Some(signal))
}

/// Tokens of the prompt, from a cache or not.
fn input_tokens(usage: &Value) -> Option<i64> {
    let cached = ["cache_creation_input_tokens", "cache_read_input_tokens"];
    let cached: i64 = cached.iter().filter_map(|key| count(usage, key)).sum();
    count(usage, "input_tokens").map(|input| input + cached)
}

fn parse<T: DeserializeOwned>(event: &str) -> Result<T, Failure> {
    serde_json::from_str(event).map_err(|_| Failure::Protocol("an event that is not of the dialect"))
}

fn finish(word: &str) -> FinishReason {
    match word {
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "refusal" => FinishReason::ContentFilter,
        // `end_turn`, `stop_sequence`, `pause_turn`, `tool_use`: the model was done.
        _ => FinishReason::Stop,
    }
}
