//! The request of OpenAI's chat completions.

use serde::Serialize;

use super::config::Settings;
use crate::ai::protocol::request_messages::RequestMessage;
use crate::ai::request_form::{Parameter, RequestForm};

#[derive(Serialize)]
pub(super) struct Request<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
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
    pub(super) fn new(settings: &'a Settings, form: &RequestForm, messages: &'a [RequestMessage<'a>]) -> Self {
        let name = form.off.output_limit(settings.output_limit());
        let limit = |parameter| form.max_output_tokens.filter(|_| name == Some(parameter));
        let options = StreamOptions { include_usage: true };
        let message = |message: &'a RequestMessage<'a>| Message {
            role: message.role.as_str(),
            content: &message.content,
        };
        Self {
            model: &settings.model,
            messages: messages.iter().map(message).collect(),
            stream: true,
            stream_options: (!form.off.contains(Parameter::StreamOptions)).then_some(options),
            max_completion_tokens: limit(Parameter::MaxCompletionTokens),
            max_tokens: limit(Parameter::MaxTokens),
        }
    }
}
