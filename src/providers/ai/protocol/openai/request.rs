//! The request of OpenAI's chat completions.

use serde::{Serialize, Serializer};

use super::config::Settings;
use crate::ai::encoded_files::EncodedFile;
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
    content: Content<'a>,
}

/// A plain text unless something goes before it: not every server takes a list.
#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(&'a str),
    Parts(Vec<Part<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    ImageUrl { image_url: ImageUrl<'a> },
    File { file: FilePart<'a> },
    Text { text: &'a str },
}

#[derive(Serialize)]
struct ImageUrl<'a> {
    #[serde(serialize_with = "data_uri")]
    url: &'a EncodedFile,
}

#[derive(Serialize)]
struct FilePart<'a> {
    filename: &'static str,
    #[serde(serialize_with = "data_uri")]
    file_data: &'a EncodedFile,
}

/// The name of a PDF in a request: the model reads its own in the text.
const FILE_NAME: &str = "document.pdf";

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn data_uri<S: Serializer>(file: &&EncodedFile, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("data:{};base64,{}", file.media_type, file.base64))
}

impl<'a> Content<'a> {
    fn of(message: &'a RequestMessage<'a>) -> Self {
        if message.files.is_empty() {
            return Self::Text(&message.content);
        }
        let files = message.files.iter().map(|file| {
            if file.is_picture() {
                Part::ImageUrl {
                    image_url: ImageUrl { url: file },
                }
            } else {
                let (filename, file_data) = (FILE_NAME, *file);
                Part::File {
                    file: FilePart { filename, file_data },
                }
            }
        });
        let text = Part::Text { text: &message.content };
        Self::Parts(files.chain([text]).collect())
    }
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
            content: Content::of(message),
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
