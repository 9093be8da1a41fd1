//! What is sent: system messages apart, then both sides in turn, the person first.

use cura_domain::message::Role;
use serde::Serialize;

use super::config::Settings;
use crate::ai::prompt::Prompt;
use crate::ai::protocol::request_messages::RequestMessage;

/// Stands for what a person said before a conversation that begins with the model: the interface wants a person first.
const BEGINNING: &str = "(The conversation begins.)";

#[derive(Serialize)]
pub(crate) struct Request<'a> {
    model: &'a str,
    max_tokens: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    system: String,
    messages: Vec<Message<'a>>,
    stream: bool,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

impl<'a> Request<'a> {
    pub(crate) fn new(settings: &'a Settings, prompt: &Prompt, turns: &'a [RequestMessage<'a>]) -> Self {
        let system: Vec<&str> = turns
            .iter()
            .filter(|turn| turn.role == Role::System)
            .map(|turn| &*turn.content)
            .collect();
        let said = turns.iter().filter(|turn| turn.role != Role::System);
        let mut messages: Vec<Message<'a>> = said
            .map(|turn| Message {
                role: turn.role.as_str(),
                content: &turn.content,
            })
            .collect();
        if messages.first().is_none_or(|first| first.role != Role::User.as_str()) {
            let beginning = Message {
                role: Role::User.as_str(),
                content: BEGINNING,
            };
            messages.insert(0, beginning);
        }
        Self {
            model: &settings.model,
            max_tokens: prompt.max_output_tokens.unwrap_or(settings.max_output_tokens),
            system: system.join("\n\n"),
            messages,
            stream: true,
        }
    }
}
