//! The request of OpenAI's chat completions.

use serde::Serialize;

use super::config::Settings;
use crate::ai::prompt::Prompt;
use crate::ai::protocol::request_messages::RequestMessage;

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
    pub(super) fn new(settings: &'a Settings, prompt: &Prompt, messages: &'a [RequestMessage<'a>]) -> Self {
        // OpenAI's newer models refuse `max_tokens`; most other servers know nothing else.
        let official = settings.is_official();
        let limit = prompt.max_output_tokens.or(settings.max_output_tokens);
        let message = |message: &'a RequestMessage<'a>| Message {
            role: message.role.as_str(),
            content: &message.content,
        };
        Self {
            model: &settings.model,
            messages: messages.iter().map(message).collect(),
            stream: true,
            stream_options: StreamOptions { include_usage: true },
            max_completion_tokens: limit.filter(|_| official),
            max_tokens: limit.filter(|_| !official),
        }
    }
}
