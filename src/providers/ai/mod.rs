//! AI providers: a prompt goes in, an answer comes out piece by piece.
//!
//! Every wait has an end, every buffer a limit, and nothing is tried twice: whether trying again makes sense is
//! the caller's decision, and [`AiError`] says what it needs to know. No prompt, answer or key reaches a log.

mod demo;
mod error;
mod openai;
mod stream;

use cura_domain::message::{FinishReason, Usage};
use cura_domain::prompt::PromptMessage;

pub use demo::DemoConfig;
pub use error::{AiError, Failure, Waiting};
pub use openai::OpenAiConfig;
pub use stream::AnswerStream;

/// What the model is asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The conversation, oldest first.
    pub messages: Vec<PromptMessage>,
    /// The longest answer wanted, in the provider's tokens; `None` leaves it to the provider.
    pub max_output_tokens: Option<u32>,
}

/// Shows sizes only: what people write does not belong into logs.
impl std::fmt::Debug for Prompt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prompt")
            .field("messages", &self.messages.len())
            .field("max_output_tokens", &self.max_output_tokens)
            .finish()
    }
}

/// A part of an answer. Any number of texts, none of them empty, then exactly one `Finished`, or an error instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// The next part of the text.
    Text(String),
    /// The answer is complete; nothing follows.
    Finished {
        /// Why it ended.
        reason: FinishReason,
        /// What it cost, if the provider said so; the caller estimates otherwise.
        usage: Option<Usage>,
        /// The model that answered, in the provider's words.
        model: Option<String>,
    },
}

/// A connected AI. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Ai(Inner);

// Anthropic's dialect becomes a third variant with a module next to `openai`.
#[derive(Clone, Debug)]
enum Inner {
    OpenAi(openai::OpenAi),
    Demo(demo::Demo),
}

impl Ai {
    /// The demo voice at its natural pace: no network, no model, and it says so.
    pub fn demo() -> Self {
        Self::demo_with(DemoConfig::default())
    }

    /// The demo voice at the given pace.
    pub fn demo_with(config: DemoConfig) -> Self {
        Self(Inner::Demo(demo::Demo::new(config)))
    }

    /// A server that speaks OpenAI's chat-completions dialect. Connects to nothing yet.
    ///
    /// # Errors
    /// [`Failure::Misconfigured`] when the base URL, key or model cannot be used.
    pub fn openai(config: OpenAiConfig) -> Result<Self, AiError> {
        openai::OpenAi::new(config).map(|openai| Self(Inner::OpenAi(openai)))
    }

    /// Who answers: `openai`, `custom` or `demo`.
    pub fn provider(&self) -> &'static str {
        match &self.0 {
            Inner::OpenAi(openai) => openai.provider(),
            Inner::Demo(_) => "demo",
        }
    }

    /// The model that is asked for.
    pub fn model(&self) -> &str {
        match &self.0 {
            Inner::OpenAi(openai) => openai.model(),
            Inner::Demo(_) => demo::MODEL,
        }
    }

    /// Asks once. Resolves when the provider has accepted the request (a 2xx status line), so an error here means
    /// that no part of an answer exists. Dropping the stream, or this future, closes the provider's connection.
    ///
    /// # Errors
    /// Whatever kept the provider from accepting; see [`Failure`].
    pub async fn stream(&self, prompt: Prompt) -> Result<AnswerStream, AiError> {
        match &self.0 {
            Inner::OpenAi(openai) => openai.stream(prompt).await,
            Inner::Demo(demo) => Ok(demo.stream(&prompt)),
        }
    }

    /// Whether the provider can be reached and knows our key, within 3 seconds and without cost. Any answer counts
    /// as reachable but 5xx, 401 and 403: not every compatible server lists its models.
    ///
    /// # Errors
    /// [`Failure::Unavailable`], [`Failure::Unauthorized`] or [`Failure::Timeout`].
    pub async fn probe(&self) -> Result<(), AiError> {
        match &self.0 {
            Inner::OpenAi(openai) => openai.probe().await,
            Inner::Demo(_) => Ok(()),
        }
    }
}
