//! The request of Anthropic's messages: system messages are sent apart, and the first message is the user's.

use cura_domain::message::Role;
use serde::Serialize;

use super::config::Settings;
use crate::ai::protocol::request_messages::RequestMessage;
use crate::ai::request_form::RequestForm;

/// The user's message that is put before a conversation that begins with the model's: the interface requires one.
const OPENING: &str = "(The conversation begins.)";

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
    content: Content<'a>,
}

/// A plain text unless something goes before it.
#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(&'a str),
    Blocks(Vec<Block<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Image { source: Source<'a> },
    Document { source: Source<'a> },
    Text { text: &'a str },
}

#[derive(Serialize)]
struct Source<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    media_type: &'a str,
    data: &'a str,
}

impl<'a> Content<'a> {
    fn of(message: &'a RequestMessage<'a>) -> Self {
        if message.files.is_empty() {
            return Self::Text(&message.content);
        }
        let files = message.files.iter().map(|file| {
            let source = Source {
                kind: "base64",
                media_type: &file.media_type,
                data: &file.base64,
            };
            if file.is_picture() {
                Block::Image { source }
            } else {
                Block::Document { source }
            }
        });
        let text = Block::Text { text: &message.content };
        Self::Blocks(files.chain([text]).collect())
    }
}

impl<'a> Request<'a> {
    pub(crate) fn new(settings: &'a Settings, form: &RequestForm, request_messages: &'a [RequestMessage<'a>]) -> Self {
        let system: Vec<&str> = request_messages
            .iter()
            .filter(|message| message.role == Role::System)
            .map(|message| &*message.content)
            .collect();
        let conversation = request_messages.iter().filter(|message| message.role != Role::System);
        let mut messages: Vec<Message<'a>> = conversation
            .map(|message| Message {
                role: message.role.as_str(),
                content: Content::of(message),
            })
            .collect();
        if messages.first().is_none_or(|first| first.role != Role::User.as_str()) {
            let opening = Message {
                role: Role::User.as_str(),
                content: Content::Text(OPENING),
            };
            messages.insert(0, opening);
        }
        Self {
            model: &settings.model,
            max_tokens: form.max_output_tokens.unwrap_or(settings.max_output_tokens),
            system: system.join("\n\n"),
            messages,
            stream: true,
        }
    }
}
