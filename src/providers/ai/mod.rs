//! AI providers: a prompt goes in, an answer comes out piece by piece.
//!
//! Every wait has an end and every buffer a limit. Who fails before the first piece is replaced by the next in line, and
//! who fails too often is left alone for a while; whether to ask again is the caller's decision, and [`AiError`] says
//! what it needs to know. No prompt, answer or key reaches a log.

mod backend;
mod call;
mod circuit_breaker;
mod completion;
mod continuation;
mod demo;
mod error;
mod failover;
mod protocol;
mod stream;
mod token_counter;

use std::sync::Arc;
use std::time::Duration;

use cura_domain::message::{FinishReason, Usage};
use cura_domain::prompt::PromptMessage;
use futures_util::stream::{FuturesUnordered, StreamExt};

use backend::Voice;
pub use call::{Accepted, Asker, Call};
pub use completion::AnswerStream;
pub use demo::DemoConfig;
pub use error::{AiError, Failure, Waiting};
use failover::Link;
pub use protocol::anthropic::AnthropicConfig;
pub use protocol::endpoint::{Continuation, Timeouts};
pub use protocol::openai::OpenAiConfig;
pub use token_counter::TokenCounter;

/// What the model is asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The conversation, oldest first.
    pub messages: Vec<PromptMessage>,
    /// The longest answer wanted, in the provider's tokens; `None` leaves it to the provider.
    pub max_output_tokens: Option<u32>,
    /// What of the answer exists already: the pieces are only what comes after it. Empty to begin.
    pub written: String,
}

/// Shows sizes only: what people write does not belong into logs.
impl std::fmt::Debug for Prompt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prompt")
            .field("messages", &self.messages.len())
            .field("max_output_tokens", &self.max_output_tokens)
            .field("written_bytes", &self.written.len())
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

/// An answer that has begun, and who gives it.
#[derive(Debug)]
pub struct Speaking {
    /// All of its pieces, the first included.
    pub pieces: AnswerStream,
    /// Who answers: `openai`, `anthropic`, `custom` or `demo`.
    pub provider: &'static str,
    /// The model that was asked for.
    pub model: String,
}

/// Connected AIs in the order in which they are asked. Cheap to clone; clones share connections and what is known of
/// each provider's state.
#[derive(Clone, Debug)]
pub struct Ai {
    first: Link,
    others: Arc<[Link]>,
}

impl Ai {
    /// The demo voice at its natural pace: no network, no model, and it says so.
    pub fn demo() -> Self {
        Self::demo_with(DemoConfig::default())
    }

    /// The demo voice at the given pace.
    pub fn demo_with(config: DemoConfig) -> Self {
        Self::of(Voice::Demo(demo::Demo::new(config)))
    }

    /// A server that speaks OpenAI's chat-completions dialect. Connects to nothing yet.
    ///
    /// # Errors
    /// [`Failure::Misconfigured`] when the base URL, key or model cannot be used.
    pub fn openai(config: OpenAiConfig) -> Result<Self, AiError> {
        protocol::openai::OpenAi::new(config).map(|openai| Self::of(Voice::OpenAi(openai)))
    }

    /// A server that speaks Anthropic's messages dialect. Connects to nothing yet.
    ///
    /// # Errors
    /// [`Failure::Misconfigured`] when the base URL, key or model cannot be used.
    pub fn anthropic(config: AnthropicConfig) -> Result<Self, AiError> {
        protocol::anthropic::Anthropic::new(config).map(|anthropic| Self::of(Voice::Anthropic(anthropic)))
    }

    fn of(voice: Voice) -> Self {
        Self {
            first: Link::new(voice),
            others: Arc::default(),
        }
    }

    /// The same, with `fallback` asked when nobody before it begins to answer.
    #[must_use]
    pub fn or(self, fallback: Self) -> Self {
        let others = self.others.iter().chain(fallback.links()).cloned().collect();
        Self {
            first: self.first,
            others,
        }
    }

    fn links(&self) -> impl Iterator<Item = &Link> {
        std::iter::once(&self.first).chain(self.others.iter())
    }

    /// Who is asked first: `openai`, `anthropic`, `custom` or `demo`.
    pub fn provider(&self) -> &'static str {
        self.first.voice.provider()
    }

    /// The model that is asked for first.
    pub fn model(&self) -> &str {
        self.first.voice.model()
    }

    /// Whether anybody can go on with an answer that broke off.
    pub fn can_continue(&self) -> bool {
        self.links().any(|link| link.voice.can_continue())
    }

    /// Whether `asker` may ask somebody now, or how long it has to wait because everybody failed too often. Nobody waits when
    /// that does not help, because somebody has to repair something first: then asking fails at once.
    ///
    /// To be asked before whatever is done only to ask: who is admitted has a moment to do it.
    ///
    /// # Errors
    /// The wait.
    pub fn admit(&self, asker: Asker) -> Result<(), Duration> {
        let mut shortest: Option<Duration> = None;
        for link in self.links() {
            match link.admit(asker) {
                Ok(()) => return Ok(()),
                Err(_) if link.is_broken() => {}
                Err(wait) => shortest = Some(shortest.map_or(wait, |shortest| shortest.min(wait))),
            }
        }
        shortest.map_or(Ok(()), Err)
    }

    /// Counts tokens as the first voice does.
    pub fn token_counter(&self) -> TokenCounter {
        match &self.first.voice {
            Voice::OpenAi(openai) if openai.is_official() => TokenCounter::of_openai(openai.model()),
            _ => TokenCounter::estimate(),
        }
    }

    /// Asks one after the other until somebody begins to answer, and resolves with the first piece at hand, so an error
    /// here means that nobody has seen anything of an answer. Dropping the stream, or this future, closes the provider's
    /// connection; `call` tells then what is known of the cost.
    ///
    /// # Errors
    /// When all failed: the failure that may pass soonest, else the first voice's. [`Failure::ContextTooLong`] at once:
    /// the prompt has to become shorter. [`Failure::Refused`] when nobody can go on with what is written.
    pub async fn ask(&self, call: &Call, prompt: Prompt) -> Result<Speaking, AiError> {
        failover::ask(self.links(), call, &prompt).await
    }

    /// Whether anybody can be reached and knows our key, within 3 seconds and without cost. Any answer counts as
    /// reachable but 5xx, 401 and 403: not every compatible server lists its models.
    ///
    /// # Errors
    /// The first voice's: [`Failure::Unavailable`], [`Failure::Unauthorized`] or [`Failure::Timeout`].
    pub async fn probe(&self) -> Result<(), AiError> {
        let probe = async |(place, link): (usize, &Link)| (place, link.voice.probe().await);
        let mut probes: FuturesUnordered<_> = self.links().enumerate().map(probe).collect();
        let mut of_first = Ok(());
        while let Some((place, probed)) = probes.next().await {
            match probed {
                Ok(()) => return Ok(()),
                Err(error) if place == 0 => of_first = Err(error),
                Err(_) => {}
            }
        }
        of_first
    }
}
