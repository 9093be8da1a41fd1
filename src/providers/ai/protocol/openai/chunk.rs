//! The dialect on the wire, as lenient as the servers that claim to speak it.

use cura_domain::message::FinishReason;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::config::Settings;
use crate::ai::prompt::Prompt;
use crate::ai::protocol::request_messages::RequestMessage;
use crate::ai::stream::completion_stream::{Signal, count};
use crate::ai::stream::surrogates::Wtf8Text;

#[derive(Serialize)]
pub(crate) struct Request<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

impl<'a> Request<'a> {
    pub(crate) fn new(settings: &'a Settings, prompt: &Prompt, turns: &'a [RequestMessage<'a>]) -> Self {
        // OpenAI's newer models refuse `max_tokens`; most other servers know nothing else.
        let official = settings.is_official();
        let limit = prompt.max_output_tokens.or(settings.max_output_tokens);
        let message = |turn: &'a RequestMessage<'a>| Message {
            role: turn.role.as_str(),
            content: &turn.content,
        };
        Self {
            model: &settings.model,
            messages: turns.iter().map(message).collect(),
            stream: true,
            stream_options: StreamOptions { include_usage: true },
            max_completion_tokens: limit.filter(|_| official),
            max_tokens: limit.filter(|_| !official),
        }
    }
}

/// One event. Everything is optional: usage comes with no choices, errors with nothing else.
#[derive(Deserialize)]
pub(crate) struct Chunk {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    /// Looked at only for its counts: nonsense in it spoils no answer.
    #[serde(default)]
    usage: Value,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    pub(crate) error: Option<Value>,
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
    /// What OpenAI sends instead of content when the model declines; it is meant to be shown.
    #[serde(default)]
    refusal: Option<Wtf8Text>,
}

impl Chunk {
    /// What it says in any dialect's terms.
    pub(crate) fn into_signal(mut self) -> Signal {
        Signal {
            finish: self.finish(),
            input_tokens: count(&self.usage, "prompt_tokens"),
            output_tokens: count(&self.usage, "completion_tokens"),
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
        let word = self.choices.as_ref()?.first()?.finish_reason.as_deref()?;
        match word {
            "" => None,
            "length" | "max_tokens" => Some(FinishReason::Length),
            "content_filter" => Some(FinishReason::ContentFilter),
            // `stop`, and what servers made up for it (`eos`, `end_turn`): the model was done.
            _ => Some(FinishReason::Stop),
        }
    }
}
