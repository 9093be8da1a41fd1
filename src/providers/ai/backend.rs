//! One backend, whatever its protocol: sends one request, without retries or failover.

use cura_domain::ModelRef;

use super::call::Call;
use super::completion::CompletionStream;
use super::continuation::{self, Continuation, ContinuationMode, Overlap};
use super::demo::{self, Demo};
use super::error::{AiError, Failure};
use super::prompt::Prompt;
use super::protocol::{ANTHROPIC, Anthropic, OpenAi};
use super::token_counter::TokenCounter;

/// A configured backend. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub(crate) enum Backend {
    OpenAi(OpenAi),
    Anthropic(Anthropic),
    Demo(Demo),
}

impl Backend {
    pub(crate) fn provider(&self) -> &'static str {
        match self {
            Self::OpenAi(openai) => openai.provider(),
            Self::Anthropic(_) => ANTHROPIC,
            Self::Demo(_) => demo::PROVIDER,
        }
    }

    pub(crate) fn model_ref(&self) -> ModelRef {
        let model = match self {
            Self::OpenAi(openai) => openai.model(),
            Self::Anthropic(anthropic) => anthropic.model(),
            Self::Demo(_) => demo::MODEL,
        };
        ModelRef::new(self.provider(), model)
    }

    pub(crate) fn token_counter(&self) -> TokenCounter {
        match self {
            Self::OpenAi(openai) if openai.is_official() => TokenCounter::of_openai(openai.model()),
            _ => TokenCounter::estimate(),
        }
    }

    pub(crate) fn can_continue(&self) -> bool {
        self.continuation() != Continuation::Off
    }

    fn continuation(&self) -> Continuation {
        match self {
            Self::OpenAi(openai) => openai.continuation(),
            Self::Anthropic(anthropic) => anthropic.continuation(),
            // Its answer follows from the prompt, so it can repeat any part of it.
            Self::Demo(_) => Continuation::Prefill,
        }
    }

    /// Resolves when the provider has accepted the request (a 2xx status line). The events contain only what follows
    /// `prompt.written`; what the provider reports beside them goes to `call`.
    pub(crate) async fn open(&self, call: &Call, prompt: &Prompt) -> Result<CompletionStream, AiError> {
        let written = &prompt.written;
        if written.is_empty() || matches!(self, Self::Demo(_)) {
            return self.request(call, prompt, None).await;
        }
        if written.trim().is_empty() {
            // A model cannot continue white space, but its answer may begin with it.
            let events = self.request(call, prompt, None).await?;
            return Ok(continuation::without_overlap(events, Overlap::prefilled(written)));
        }
        match self.continuation() {
            Continuation::Off => return Err(AiError::new(Failure::Refused { status: None }, true)),
            Continuation::Prompt => {}
            Continuation::Prefill => match self.request(call, prompt, Some(ContinuationMode::Prefill)).await {
                Ok(events) => return Ok(continuation::without_overlap(events, Overlap::prefilled(written))),
                // Newer Claude models and some others refuse a prefilled answer: ask for a continuation instead.
                Err(error) if is_bad_request(&error) => {}
                Err(error) => return Err(error),
            },
        }
        let events = self.request(call, prompt, Some(ContinuationMode::Prompt)).await?;
        Ok(continuation::without_overlap(events, Overlap::of(written)))
    }

    /// Every request with a person's words is sent from here, once its permission is given.
    async fn request(
        &self,
        call: &Call,
        prompt: &Prompt,
        continuation: Option<ContinuationMode>,
    ) -> Result<CompletionStream, AiError> {
        call.ask_permission().await?;
        match self {
            Self::OpenAi(openai) => openai.stream(call, prompt, continuation).await,
            Self::Anthropic(anthropic) => anthropic.stream(call, prompt, continuation).await,
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
    matches!(
        error.failure(),
        Failure::Refused {
            status: Some(400 | 422)
        }
    )
}
