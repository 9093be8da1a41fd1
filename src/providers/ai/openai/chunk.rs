//! The dialect on the wire, as lenient as the servers that claim to speak it.

use cura_domain::message::{FinishReason, Usage};
use serde::{Deserialize, Serialize};

use super::super::Prompt;
use super::config::Settings;

#[derive(Serialize)]
pub(super) struct Request<'a> {
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
    pub(super) fn new(settings: &'a Settings, prompt: &'a Prompt) -> Self {
        // OpenAI's newer models refuse `max_tokens`; most other servers know nothing else.
        let official = settings.provider_name == "openai";
        Self {
            model: &settings.model,
            messages: prompt
                .messages
                .iter()
                .map(|message| Message {
                    role: message.role.as_str(),
                    content: &message.content,
                })
                .collect(),
            stream: true,
            stream_options: StreamOptions { include_usage: true },
            max_completion_tokens: prompt.max_output_tokens.filter(|_| official),
            max_tokens: prompt.max_output_tokens.filter(|_| !official),
        }
    }
}

/// One event. Everything is optional: usage comes with no choices, errors with nothing else.
#[derive(Deserialize)]
pub(super) struct Chunk {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    usage: Option<Tokens>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    pub(super) error: Option<serde_json::Value>,
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
    content: Option<String>,
    /// What OpenAI sends instead of content when the model declines; it is meant to be shown.
    #[serde(default)]
    refusal: Option<String>,
}

#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    prompt_tokens: Option<i64>,
    #[serde(default)]
    completion_tokens: Option<i64>,
}

/// Text without NUL, which Postgres cannot store and nobody can read; `None` when nothing is left.
fn storable(mut text: String) -> Option<String> {
    text.retain(|c| c != '\0');
    (!text.is_empty()).then_some(text)
}

impl Chunk {
    /// The text it adds, if any.
    pub(super) fn take_text(&mut self) -> Option<String> {
        let delta = self.choices.as_mut()?.first_mut()?.delta.as_mut()?;
        let content = delta.content.take().and_then(storable);
        content.or_else(|| delta.refusal.take().and_then(storable))
    }

    /// The model that answers, if this says so.
    pub(super) fn take_model(&mut self) -> Option<String> {
        self.model.take().and_then(storable)
    }

    /// Why the answer ended, if this says so.
    pub(super) fn finish(&self) -> Option<FinishReason> {
        let word = self.choices.as_ref()?.first()?.finish_reason.as_deref()?;
        match word {
            "" => None,
            "length" | "max_tokens" => Some(FinishReason::Length),
            "content_filter" => Some(FinishReason::ContentFilter),
            // `stop`, and what servers made up for it (`eos`, `end_turn`): the model was done.
            _ => Some(FinishReason::Stop),
        }
    }

    /// What the answer cost, if this says so credibly.
    pub(super) fn usage(&self) -> Option<Usage> {
        let tokens = self.usage.as_ref()?;
        let input_tokens = tokens.prompt_tokens.filter(|&count| count >= 0)?;
        let output_tokens = tokens.completion_tokens.filter(|&count| count >= 0)?;
        Some(Usage {
            input_tokens,
            output_tokens,
            estimated: false,
        })
    }
}
