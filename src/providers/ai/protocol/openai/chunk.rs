//! The events of OpenAI's chat completions. Decoding is lenient, because compatible servers deviate from it.

use cura_domain::message::FinishReason;
use serde::Deserialize;
use serde_json::Value;

use crate::ai::protocol::reported_tokens::reported_tokens;
use crate::ai::stream::completion_stream::ProtocolEvent;
use crate::ai::stream::surrogates::Wtf8Text;

/// One event. Every field is optional: usage comes without choices, an error without anything else.
#[derive(Deserialize)]
pub(super) struct Chunk {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    /// Only its counts are read: a malformed one does not fail the answer.
    #[serde(default)]
    usage: Value,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    pub(super) error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<Wtf8Text>,
    /// Sent by OpenAI instead of content when the model declines; it is meant to be shown.
    #[serde(default)]
    refusal: Option<Wtf8Text>,
}

impl Chunk {
    pub(super) fn into_event(mut self) -> ProtocolEvent {
        ProtocolEvent {
            finish: self.finish(),
            input_tokens: reported_tokens(&self.usage, "prompt_tokens"),
            output_tokens: reported_tokens(&self.usage, "completion_tokens"),
            text: self.take_text(),
            model: self.model,
            done: false,
        }
    }

    fn take_text(&mut self) -> Option<Wtf8Text> {
        let delta = self.choices.as_mut()?.first_mut()?.delta.as_mut()?;
        let content = delta.content.take().filter(|content| !content.is_empty());
        content.or_else(|| delta.refusal.take())
    }

    fn finish(&self) -> Option<FinishReason> {
        let reason = self.choices.as_ref()?.first()?.finish_reason.as_deref()?;
        match reason {
            "" => None,
            "length" | "max_tokens" => Some(FinishReason::Length),
            "content_filter" => Some(FinishReason::ContentFilter),
            // `stop`, and what other servers send for it (`eos`, `end_turn`).
            _ => Some(FinishReason::Stop),
        }
    }
}
