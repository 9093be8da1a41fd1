//! One backend, whatever its protocol: sends a request, again in another form where it is refused, without retries or failover.

use std::sync::Arc;

use cura_domain::prompt::Takes;
use cura_domain::{ModelRef, UserId};
use futures_util::stream::{self, StreamExt};

use super::call::Call;
use super::completion::CompletionStream;
use super::continuation::{self, Continuation, ContinuationMode, Overlap};
use super::demo::{self, Demo};
use super::error::{AiError, Failure};
use super::prompt::Prompt;
use super::protocol::{ANTHROPIC, Anthropic, OpenAi};
use super::request_form::{Asking, Learned, RequestForm};
use super::stream::thoughts::without_thoughts;
use super::token_counter::TokenCounter;

/// A configured backend. Cheap to clone; clones share their connections, and what they have learned of it.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    protocol: Protocol,
    learned: Arc<Learned>,
    vision: Vision,
}

/// Whether a model is given pictures, and PDFs as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Vision {
    /// As long as it takes them.
    #[default]
    Auto,
    /// Always, though it may have refused them before.
    On,
    /// Never.
    Off,
}

/// How it is spoken to.
#[derive(Clone, Debug)]
pub(crate) enum Protocol {
    OpenAi(OpenAi),
    Anthropic(Anthropic),
    Demo(Demo),
}

impl From<Protocol> for Backend {
    fn from(protocol: Protocol) -> Self {
        Self {
            protocol,
            learned: Arc::default(),
            vision: Vision::default(),
        }
    }
}

impl Backend {
    pub(crate) fn provider(&self) -> &'static str {
        match &self.protocol {
            Protocol::OpenAi(openai) => openai.provider(),
            Protocol::Anthropic(_) => ANTHROPIC,
            Protocol::Demo(_) => demo::PROVIDER,
        }
    }

    /// Whether this is the demo, which cannot fail.
    pub(crate) fn is_demo(&self) -> bool {
        matches!(self.protocol, Protocol::Demo(_))
    }

    pub(crate) fn model_ref(&self) -> ModelRef {
        let model = match &self.protocol {
            Protocol::OpenAi(openai) => openai.model(),
            Protocol::Anthropic(anthropic) => anthropic.model(),
            Protocol::Demo(_) => demo::MODEL,
        };
        ModelRef::new(self.provider(), model)
    }

    pub(crate) fn token_counter(&self) -> TokenCounter {
        match &self.protocol {
            Protocol::OpenAi(openai) if openai.is_official() => TokenCounter::of_openai(openai.model()),
            _ => TokenCounter::estimate(),
        }
    }

    pub(crate) fn with_vision(self, vision: Vision) -> Self {
        Self { vision, ..self }
    }

    /// What it is given beside text.
    pub(crate) fn takes(&self) -> Takes {
        let pdfs = match &self.protocol {
            Protocol::OpenAi(openai) => openai.is_official(),
            Protocol::Anthropic(_) => true,
            Protocol::Demo(_) => return Takes::TEXT,
        };
        let takes = match self.vision {
            Vision::Off => Takes::TEXT,
            Vision::On => Takes::ALL,
            Vision::Auto => self.learned.takes(),
        };
        Takes {
            pdfs: takes.pdfs && pdfs,
            ..takes
        }
    }

    /// The longest prompt of `person` that is known to be accepted, in tokens by estimate; `None` when no limit is known.
    pub(crate) fn max_prompt_tokens(&self, person: Option<UserId>) -> Option<usize> {
        self.learned.max_prompt_tokens(person)
    }

    pub(crate) fn can_continue(&self) -> bool {
        self.continuation() != Continuation::Off
    }

    fn continuation(&self) -> Continuation {
        match &self.protocol {
            Protocol::OpenAi(openai) => openai.continuation(),
            Protocol::Anthropic(anthropic) => anthropic.continuation(),
            // Its answer follows from the prompt, so it can repeat any part of it.
            Protocol::Demo(_) => Continuation::Prefill,
        }
    }

    /// Resolves with the first event of an accepted request, which may be a shorter one than `prompt` where the provider refused
    /// that (`request_form`). A refusal that is the first event of an answer was paid for: one further request follows. The events contain only what follows `prompt.written`; what the provider
    /// reports beside them goes to `call`.
    pub(crate) async fn open(&self, call: &Call, prompt: &Prompt) -> Result<CompletionStream, AiError> {
        let written = &prompt.written;
        // A model cannot continue white space, but its answer may begin with it.
        let continuation = match self.continuation() {
            _ if written.trim().is_empty() => None,
            Continuation::Off => return Err(AiError::new(Failure::Refused { status: None }, true)),
            Continuation::Prompt => Some(ContinuationMode::Prompt),
            Continuation::Prefill => Some(ContinuationMode::Prefill),
        };
        let (form, output_limit) = match &self.protocol {
            Protocol::OpenAi(openai) => openai.form(prompt, continuation),
            Protocol::Anthropic(anthropic) => (anthropic.form(prompt, continuation), None),
            Protocol::Demo(_) => (RequestForm::default(), None),
        };
        let (takes, carries) = (self.takes(), prompt.carries());
        let form = RequestForm {
            no_pictures: !(takes.pictures && carries.pictures),
            no_pdfs: !(takes.pdfs && carries.pdfs),
            ..form
        };
        let remembers = self.vision == Vision::Auto;
        let mut asking = Asking::new(&self.learned, call.person(), prompt, form, output_limit, remembers);
        let events = loop {
            let (error, is_paid) = match self.request(call, &asking.prompt, &asking.form).await {
                Ok(events) => match first_of(events).await {
                    Ok(events) => {
                        let (files, left_out) = asking.used_files(prompt);
                        call.gave(files, left_out);
                        break asking.remembering(events, self.provider());
                    }
                    Err(error) => (error, true),
                },
                Err(error) => (error, false),
            };
            if is_paid {
                asking.remember_refusal(&error);
            }
            if (is_paid && !call.may_pay_again()) || !asking.reform(&error, is_paid) {
                return Err(asking.final_refusal(error));
            }
        };
        Ok(match asking.form.continuation {
            _ if written.is_empty() || self.is_demo() => events,
            Some(ContinuationMode::Prompt) => continuation::without_overlap(events, Overlap::of(written)),
            None | Some(ContinuationMode::Prefill) => {
                continuation::without_overlap(events, Overlap::prefilled(written))
            }
        })
    }

    /// Sends `prompt` in one request, as it is: what is refused is not asked again in another form, and teaches nothing.
    pub(crate) async fn open_as_it_is(&self, call: &Call, prompt: &Prompt) -> Result<CompletionStream, AiError> {
        let form = match &self.protocol {
            Protocol::OpenAi(openai) => openai.form(prompt, None).0,
            Protocol::Anthropic(anthropic) => anthropic.form(prompt, None),
            Protocol::Demo(_) => RequestForm::default(),
        };
        first_of(self.request(call, prompt, &form).await?).await
    }

    /// Every request with a person's words is sent from here, once its permission is given.
    async fn request(&self, call: &Call, prompt: &Prompt, form: &RequestForm) -> Result<CompletionStream, AiError> {
        call.ask_permission().await?;
        let events = match &self.protocol {
            Protocol::OpenAi(openai) => openai.stream(call, prompt, form).await?,
            Protocol::Anthropic(anthropic) => anthropic.stream(call, prompt, form).await?,
            Protocol::Demo(demo) => return demo.stream(prompt),
        };
        Ok(without_thoughts(events, &prompt.written, call))
    }

    pub(crate) async fn probe(&self) -> Result<(), AiError> {
        match &self.protocol {
            Protocol::OpenAi(openai) => openai.probe().await,
            Protocol::Anthropic(anthropic) => anthropic.probe().await,
            Protocol::Demo(_) => Ok(()),
        }
    }
}

/// The same events, once the first of them is here. An error before any text comes instead of them.
async fn first_of(mut events: CompletionStream) -> Result<CompletionStream, AiError> {
    match events.next().await {
        Some(Err(error)) if error.before_first_byte() => Err(error),
        first => Ok(CompletionStream::new(stream::iter(first).chain(events))),
    }
}
