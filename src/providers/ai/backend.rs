//! One AI, whatever its dialect, asked once.

use super::continuation::Overlap;
use super::protocol::endpoint::Continuation;
use super::protocol::request_messages::Way;
use super::{AiError, AnswerStream, Call, Failure, Prompt, continuation, demo};
use crate::ai::protocol::{anthropic, openai};

/// A connected AI. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub(crate) enum Voice {
    OpenAi(openai::OpenAi),
    Anthropic(anthropic::Anthropic),
    Demo(demo::Demo),
}

impl Voice {
    pub(crate) fn provider(&self) -> &'static str {
        match self {
            Self::OpenAi(openai) => openai.provider(),
            Self::Anthropic(_) => anthropic::PROVIDER,
            Self::Demo(_) => demo::PROVIDER,
        }
    }

    pub(crate) fn model(&self) -> &str {
        match self {
            Self::OpenAi(openai) => openai.model(),
            Self::Anthropic(anthropic) => anthropic.model(),
            Self::Demo(_) => demo::MODEL,
        }
    }

    pub(crate) fn can_continue(&self) -> bool {
        self.continuation() != Continuation::Off
    }

    fn continuation(&self) -> Continuation {
        match self {
            Self::OpenAi(openai) => openai.continuation(),
            Self::Anthropic(anthropic) => anthropic.continuation(),
            // It knows its answer by heart.
            Self::Demo(_) => Continuation::Prefill,
        }
    }

    /// Resolves when the provider has accepted the request (a 2xx status line). The pieces are only what comes after
    /// `prompt.written`; what is stated beside them goes to `call`.
    pub(crate) async fn ask(&self, call: &Call, prompt: &Prompt) -> Result<AnswerStream, AiError> {
        let written = &prompt.written;
        if written.is_empty() || matches!(self, Self::Demo(_)) {
            return self.once(call, prompt, Way::Begin).await;
        }
        if written.trim().is_empty() {
            // Nothing a model could go on with, but what it says may begin with it.
            let pieces = self.once(call, prompt, Way::Begin).await?;
            return Ok(continuation::cut(pieces, Overlap::prefilled(written)));
        }
        match self.continuation() {
            Continuation::Off => return Err(AiError::new(Failure::Refused { status: None }, true)),
            Continuation::Prompt => {}
            Continuation::Prefill => match self.once(call, prompt, Way::Prefill).await {
                Ok(pieces) => return Ok(continuation::cut(pieces, Overlap::prefilled(written))),
                // Not every model lets words be put into its mouth (newer Claude models do not): ask it to go on.
                Err(error) if is_bad_request(&error) => {}
                Err(error) => return Err(error),
            },
        }
        let pieces = self.once(call, prompt, Way::Prompt).await?;
        Ok(continuation::cut(pieces, Overlap::of(written)))
    }

    async fn once(&self, call: &Call, prompt: &Prompt, way: Way) -> Result<AnswerStream, AiError> {
        match self {
            Self::OpenAi(openai) => openai.stream(call, prompt, way).await,
            Self::Anthropic(anthropic) => anthropic.stream(call, prompt, way).await,
            Self::Demo(demo) => demo.stream(prompt),
        }
    }

    pub(crate) async fn probe(&self) -> Result<(), AiError> {
        match self {
            Self::OpenAi(openai) => openai.probe().await,
            Self::Anthropic(anthropic) => anthropic.probe().await,
            Self::Demo(_) => Ok(()),
        }
    }
}

fn is_bad_request(error: &AiError) -> bool {
    let refused = Failure::Refused { status: Some(400) };
    let unprocessable = Failure::Refused { status: Some(422) };
    *error.failure() == refused || *error.failure() == unprocessable
}
