//! AI providers: takes a prompt, returns an answer as a stream of events.
//!
//! - Every wait has a deadline and every buffer a limit.
//! - A backend that fails before its first event is replaced by the next one in order (`failover`).
//! - A backend that fails for everybody is not asked for a while (`circuit_breaker`), which a request of our own finds out
//!   (`trial`).
//! - A backend that refuses a part of a request, or its length, is asked again without it (`request_form`).
//! - Retrying is the caller's decision; [`AiError`] says what the caller needs to know for it.
//! - No prompt, answer or key reaches a log.

mod backend;
mod call;
mod candidate;
mod circuit_breaker;
mod completion;
mod continuation;
mod demo;
mod encoded_files;
mod error;
mod examination;
mod failover;
mod gate;
mod permission;
mod prompt;
mod protocol;
mod reported_completion;
mod request_form;
mod stream;
mod timeouts;
mod token_counter;
mod trial;

use std::sync::Arc;

use cura_domain::picture_tokens::PictureCost;
use cura_domain::prompt::{FileRules, Takes};
use cura_domain::{ModelRef, UserId};
use futures_util::stream::{FuturesUnordered, StreamExt};

pub use backend::Vision;
use backend::{Backend, Protocol};
pub use call::{Call, PaidCalls, ProviderReport, RequestKey};
use candidate::Candidate;
pub use completion::{CompletionEvent, CompletionStream, OpenCompletion};
pub use continuation::Continuation;
pub use demo::DemoConfig;
pub use encoded_files::{EncodedFiles, FileMemory, TakenMemory};
pub use error::{AiError, CircuitOpen, Failure, TimeoutPhase};
pub use examination::Examined;
pub use gate::{Gate, GateState};
pub use permission::{NoPermission, Permission};
pub use prompt::Prompt;
pub use protocol::{AnthropicConfig, OpenAiConfig};
pub use request_form::{Parameter, ParametersOff, RequestPart};
pub use timeouts::Timeouts;
pub use token_counter::TokenCounter;

/// The configured backends in the order in which they are asked: the primary one, then its fallbacks. Cheap to clone;
/// clones share connections and circuit breakers.
#[derive(Clone, Debug)]
pub struct Ai {
    primary: Candidate,
    fallbacks: Arc<[Candidate]>,
}

impl Ai {
    /// The demo backend at its default pace: no network and no model, and its answers say so.
    pub fn demo() -> Self {
        Self::demo_with(DemoConfig::default())
    }

    /// The demo backend at the given pace.
    pub fn demo_with(config: DemoConfig) -> Self {
        Self::of(Protocol::Demo(demo::Demo::new(config)))
    }

    /// A server that implements OpenAI's chat completions. Opens no connection yet.
    ///
    /// # Errors
    /// [`Failure::Misconfigured`] when the base URL, key or model cannot be used.
    pub fn openai(config: OpenAiConfig) -> Result<Self, AiError> {
        protocol::OpenAi::new(config).map(|openai| Self::of(Protocol::OpenAi(openai)))
    }

    /// A server that implements Anthropic's messages. Opens no connection yet.
    ///
    /// # Errors
    /// [`Failure::Misconfigured`] when the base URL, key or model cannot be used.
    pub fn anthropic(config: AnthropicConfig) -> Result<Self, AiError> {
        protocol::Anthropic::new(config).map(|anthropic| Self::of(Protocol::Anthropic(anthropic)))
    }

    fn of(protocol: Protocol) -> Self {
        Self {
            primary: Candidate::new(Backend::from(protocol)),
            fallbacks: Arc::default(),
        }
    }

    /// Adds `fallback`, which is asked when every backend before it fails before its first event.
    #[must_use]
    pub fn with_fallback(self, fallback: Self) -> Self {
        let fallbacks = self.fallbacks.iter().chain(fallback.candidates()).cloned().collect();
        Self {
            primary: self.primary,
            fallbacks,
        }
    }

    /// The same backends, which are given pictures as `vision` says.
    #[must_use]
    pub fn with_vision(self, vision: Vision) -> Self {
        Self {
            primary: self.primary.with_vision(vision),
            fallbacks: self
                .fallbacks
                .iter()
                .map(|fallback| fallback.with_vision(vision))
                .collect(),
        }
    }

    /// What a prompt may give beside text: what any backend takes, at the primary model's cost.
    pub fn file_rules(&self) -> FileRules {
        let takes = self.candidates().map(Candidate::takes).reduce(|one, other| Takes {
            pictures: one.pictures || other.pictures,
            pdfs: one.pdfs || other.pdfs,
        });
        FileRules {
            takes: takes.unwrap_or(Takes::TEXT),
            pictures: PictureCost::of(self.primary_model()),
        }
    }

    fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        std::iter::once(&self.primary).chain(self.fallbacks.iter())
    }

    /// The model that is asked first.
    pub fn primary_model(&self) -> &ModelRef {
        self.primary.model()
    }

    /// Whether any backend can continue an answer that was interrupted.
    pub fn can_continue(&self) -> bool {
        self.candidates().any(Candidate::can_continue)
    }

    /// Whether requests of anybody may have to wait: if not, nothing need be [checked](Self::check).
    pub fn holds_anybody(&self) -> bool {
        self.candidates().any(Candidate::holds_anybody)
    }

    /// Checks whether a request may be sent now to any backend, on behalf of `person` or, with `None`, on our own.
    ///
    /// Call this before work that is only needed for the request. It succeeds also when every backend needs an operator:
    /// waiting does not help then, and [`open_completion`](Self::open_completion) fails at once.
    ///
    /// # Errors
    /// When every circuit breaker is open: the shortest wait.
    pub fn check(&self, person: Option<UserId>) -> Result<(), CircuitOpen> {
        let mut shortest: Option<CircuitOpen> = None;
        for candidate in self.candidates() {
            match candidate.check(person) {
                Ok(()) => return Ok(()),
                Err(_) if candidate.needs_operator() => {}
                Err(open) => shortest = Some(shortest.map_or(open, |shortest| shortest.min(open))),
            }
        }
        shortest.map_or(Ok(()), Err)
    }

    /// The longest prompt of `person` that the primary model is known to accept, in tokens by estimate; `None` when no limit is
    /// known. Longer ones are cut to it before they are sent, so what is left out should be summarized.
    pub fn max_prompt_tokens(&self, person: Option<UserId>) -> Option<usize> {
        self.primary.max_prompt_tokens(person)
    }

    /// The code of what everybody's requests fail with, as far as this process has found out: that of the primary backend, when
    /// no other one can be asked either.
    pub fn fault(&self) -> Option<&'static str> {
        let faults: Option<Vec<_>> = self.candidates().map(Candidate::fault).collect();
        faults?.first().copied()
    }

    /// Whether requests are sent to each backend, in the order in which they are asked.
    pub fn gates(&self) -> Vec<Gate> {
        self.candidates().map(Candidate::gate).collect()
    }

    /// How many complete answers the backends gave to this process. It only grows.
    pub fn answers(&self) -> u64 {
        self.candidates().map(Candidate::answers).sum()
    }

    /// Whether a backend has a fault that is confirmed and that an operator has to repair: a good answer anywhere may mean that
    /// it is over.
    pub fn has_confirmed_fault(&self) -> bool {
        self.candidates().any(Candidate::is_confirmed_faulty)
    }

    /// Asks backends with a confirmed fault whether it is over, each as soon as it was left alone for some seconds. Returns at
    /// once.
    pub fn recheck(&self) {
        self.candidates().for_each(Candidate::recheck);
    }

    /// Asks the primary backend this question of ours, for an answer of `most_tokens`, and reads it to its end, or hangs up at its first
    /// text. No circuit breaker is asked or told. Takes 20 s at most.
    ///
    /// # Errors
    /// How it failed.
    pub async fn examine(&self, question: &str, most_tokens: u32, hangs_up: bool) -> Result<Examined, AiError> {
        examination::examine(self.primary.backend(), question, most_tokens, hangs_up).await
    }

    /// Sends the primary backend a question of ours as it is, however long, and hangs up when it begins to answer: to see whether it
    /// refuses. Takes 20 s at most.
    ///
    /// # Errors
    /// How it refused, or failed.
    pub async fn examine_refusal(&self, question: String, most_tokens: u32) -> Result<(), AiError> {
        examination::send_once(self.primary.backend(), question, most_tokens).await
    }

    /// Counts tokens as the primary model does.
    pub fn token_counter(&self) -> TokenCounter {
        self.primary.token_counter()
    }

    /// Asks one backend after the other until one sends its first event, so an error here means that readers have seen
    /// nothing of this completion. Dropping the stream, or this future, closes the provider's connection; `call` then
    /// reports the cost as far as it is known. The permission of `call` is asked right before each request.
    ///
    /// # Errors
    /// When every backend failed: the failure that may pass soonest, else the primary backend's.
    /// [`Failure::ContextTooLong`] when also the last message alone is too long, or the provider said so within an answer that it
    /// had begun: then the same prompt is sent shorter the next time. [`Failure::Refused`] when no backend can continue the
    /// text that is already written. [`Failure::Withdrawn`] and [`Failure::Unconfirmed`] at once, and then no
    /// further request was sent.
    pub async fn open_completion(&self, call: &Call, prompt: Prompt) -> Result<OpenCompletion, AiError> {
        let backends = self.candidates().count();
        failover::open_completion(self.candidates(), backends, call, &prompt).await
    }

    /// Checks within 3 seconds and without cost whether any backend can be reached and accepts our key. Any status counts
    /// as reachable but 5xx, 401 and 403: not every compatible server lists its models.
    ///
    /// # Errors
    /// The primary backend's: [`Failure::Unavailable`], [`Failure::Unauthorized`] or [`Failure::Timeout`].
    pub async fn probe(&self) -> Result<(), AiError> {
        let probe = async |(index, candidate): (usize, &Candidate)| (index, candidate.probe().await);
        let mut probes: FuturesUnordered<_> = self.candidates().enumerate().map(probe).collect();
        let mut of_primary = Ok(());
        while let Some((index, probed)) = probes.next().await {
            match probed {
                Ok(()) => return Ok(()),
                Err(error) if index == 0 => of_primary = Err(error),
                Err(_) => {}
            }
        }
        of_primary
    }
}
