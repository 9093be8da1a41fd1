//! The format of a case.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// What providers send, and what a person must get of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The protocol of the provider.
    #[serde(default)]
    pub dialect: Dialect,
    /// Settings of Cura beside the defaults of tests.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Messages that were sent before, and answered well.
    #[serde(default)]
    pub earlier: Vec<Text>,
    /// The message.
    #[serde(default = "Text::hi")]
    pub say: Text,
    /// The responses of the provider in order; the last one is repeated.
    pub respond: Vec<Response>,
    /// The provider that is asked when the first one fails.
    pub fallback: Option<Fallback>,
    /// What becomes of the message.
    pub expect: Expect,
    /// Messages that are sent afterwards in the same conversation.
    #[serde(default)]
    pub then: Vec<Then>,
}

/// A second provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// Its protocol.
    #[serde(default)]
    pub dialect: Dialect,
    /// Its responses in order; the last one is repeated.
    pub respond: Vec<Response>,
}

/// A further message.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Then {
    /// The message.
    pub say: Text,
    /// What becomes of it.
    pub expect: Expect,
}

/// The protocol of a provider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// OpenAI's chat completions.
    #[default]
    Openai,
    /// Anthropic's messages.
    Anthropic,
}

/// A text, or one that is repeated.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Text {
    /// As it is.
    Once(String),
    /// `text`, so many times.
    Repeated {
        /// What is repeated.
        text: String,
        /// How often.
        times: usize,
    },
}

impl Text {
    fn hi() -> Self {
        Self::Once("Hi".to_owned())
    }

    /// The whole text.
    pub fn whole(&self) -> String {
        match self {
            Self::Once(text) => text.clone(),
            Self::Repeated { text, times } => text.repeat(*times),
        }
    }
}

/// A response of a provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// The status line's code and phrase.
    #[serde(default = "Response::ok")]
    pub status: String,
    /// `Content-Type`; an event stream with 200, else JSON.
    pub content_type: Option<String>,
    /// More headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// How the body's length is told.
    #[serde(default)]
    pub framing: Framing,
    /// The body: lines as they are sent, and shorthands.
    #[serde(default)]
    pub body: String,
}

impl Response {
    fn ok() -> String {
        "200 OK".to_owned()
    }
}

/// How a body's length is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Framing {
    /// Chunked, with a chunk for each event.
    #[default]
    Chunked,
    /// `Content-Length`.
    Length,
    /// The end of the connection.
    Close,
    /// Chunked, with a chunk for each byte.
    Bytes,
}

/// What must become of a message.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// `sent` or `error`.
    pub status: String,
    /// The whole text.
    pub content: Option<Text>,
    /// The length of the text in UTF-8 bytes, where it is too long to write down.
    pub content_bytes: Option<usize>,
    /// How the text begins.
    pub content_starts: Option<String>,
    /// `stop`, `length`, `content_filter`.
    pub finish_reason: Option<String>,
    /// The code of a failed answer.
    pub error: Option<String>,
    /// Fields of the message's metadata, compared as far as they are named.
    pub metadata: Option<Value>,
    /// Fields that the message's metadata must not have.
    #[serde(default)]
    pub metadata_lacks: Vec<String>,
    /// How many requests for answers the provider got, of this message and those before.
    pub calls: Option<usize>,
    /// How many of them it accepted, which is what costs.
    pub paid_calls: Option<usize>,
    /// How many requests for answers the fallback got.
    pub fallback_calls: Option<usize>,
    /// How many of them it accepted.
    pub fallback_paid_calls: Option<usize>,
    /// Whether text was taken back while it was streamed.
    #[serde(default)]
    pub reset: bool,
    /// The title of the conversation, once it is there.
    pub title: Option<String>,
    /// What the provider's requests must be, in order.
    #[serde(default)]
    pub requests: Vec<ExpectRequest>,
    /// What the last request of the provider must be.
    pub last_request: Option<ExpectRequest>,
    /// What the last request of the fallback must be.
    pub last_fallback_request: Option<ExpectRequest>,
    /// What processes must log, at the latest when the answer is final.
    #[serde(default)]
    pub logs: Vec<String>,
    /// What they must not log.
    #[serde(default)]
    pub logs_lack: Vec<String>,
    /// Fields of `GET /health`, compared as far as they are named, sooner or later.
    pub health: Option<Value>,
}

/// What a request must be.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectRequest {
    /// Fields of the body, compared as far as they are named.
    pub holds: Option<Value>,
    /// Fields that the body must not have.
    #[serde(default)]
    pub lacks: Vec<String>,
    /// What is somewhere in the body, as JSON writes it.
    #[serde(default)]
    pub says: Vec<String>,
    /// What is nowhere in it.
    #[serde(default)]
    pub says_not: Vec<String>,
}
