//! A backend behind its circuit breaker, as failover asks it: a completion counts as open with its first event, and every end
//! of it is reported to the breaker and to the call.

use cura_domain::prompt::Takes;
use cura_domain::text::is_blank;
use cura_domain::{ModelRef, UserId};
use futures_util::StreamExt;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::backend::{Backend, Vision};
use super::call::Call;
use super::circuit_breaker::{CircuitBreaker, Permit};
use super::completion::{CompletionEvent, CompletionStream, OpenCompletion};
use super::error::{AiError, CircuitOpen, Failure};
use super::gate::{Gate, GateState};
use super::prompt::Prompt;
use super::reported_completion::{Progress, reported};
use super::token_counter::TokenCounter;
use super::trial::send_trial;

/// A backend and its circuit breaker; the demo backend has none, because it cannot fail.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    backend: Backend,
    model: ModelRef,
    breaker: Option<CircuitBreaker>,
}

impl Candidate {
    pub(crate) fn new(backend: Backend) -> Self {
        let breaker = (!backend.is_demo()).then(|| CircuitBreaker::new(backend.provider()));
        Self {
            model: backend.model_ref(),
            backend,
            breaker,
        }
    }

    pub(crate) fn model(&self) -> &ModelRef {
        &self.model
    }

    pub(crate) const fn backend(&self) -> &Backend {
        &self.backend
    }

    pub(crate) fn with_vision(&self, vision: Vision) -> Self {
        Self {
            backend: self.backend.clone().with_vision(vision),
            ..self.clone()
        }
    }

    pub(crate) fn takes(&self) -> Takes {
        self.backend.takes()
    }

    pub(crate) fn can_continue(&self) -> bool {
        self.backend.can_continue()
    }

    pub(crate) fn token_counter(&self) -> TokenCounter {
        self.backend.token_counter()
    }

    pub(crate) fn max_prompt_tokens(&self, person: Option<UserId>) -> Option<usize> {
        self.backend.max_prompt_tokens(person)
    }

    pub(crate) async fn probe(&self) -> Result<(), AiError> {
        self.backend.probe().await
    }

    /// Checks whether a request may be sent; see [`CircuitBreaker::check`].
    pub(crate) fn check(&self, person: Option<UserId>) -> Result<(), CircuitOpen> {
        self.send_trial_if_due();
        match &self.breaker {
            Some(breaker) => breaker.check(person, Instant::now()),
            None => Ok(()),
        }
    }

    /// Whether requests of anybody may have to wait.
    pub(crate) fn holds_anybody(&self) -> bool {
        let now = Instant::now();
        self.breaker.as_ref().is_some_and(|breaker| breaker.holds_anybody(now))
    }

    /// Whether requests are sent to it, for operators.
    pub(crate) fn gate(&self) -> Gate {
        let (state, reason, wait, held_persons) = match &self.breaker {
            Some(breaker) => breaker.gate(Instant::now()),
            None => (GateState::Closed, None, None, 0),
        };
        Gate {
            provider: self.model.provider.clone(),
            model: self.model.model.clone(),
            state,
            reason: reason.map(str::to_owned),
            retry_after_ms: wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            held_persons,
            answers: self.answers(),
        }
    }

    /// The code of what everybody's requests fail with, if they do.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        self.breaker.as_ref()?.fault(Instant::now())
    }

    /// How many complete answers it gave.
    pub(crate) fn answers(&self) -> u64 {
        self.breaker.as_ref().map_or(0, CircuitBreaker::answers)
    }

    /// Whether it is confirmed that an operator has to repair something.
    pub(crate) fn is_confirmed_faulty(&self) -> bool {
        self.breaker.as_ref().is_some_and(CircuitBreaker::is_confirmed)
    }

    /// Finds out whether a confirmed fault is over, as soon as the last trial is long enough ago.
    pub(crate) fn recheck(&self) {
        let Some(at) = self.breaker.as_ref().and_then(CircuitBreaker::plan_recheck) else {
            return;
        };
        let candidate = self.clone();
        TaskTracker::new().spawn(async move {
            tokio::time::sleep_until(at).await;
            candidate.send_trial_if_due();
        });
    }

    /// Sends a trial, if one is due, beside what the caller does, and others after it as long as an operator may have to act.
    /// Each has a time limit.
    fn send_trial_if_due(&self) {
        let Some(breaker) = self.breaker.clone() else {
            return;
        };
        let Some(mut trial) = breaker.start_trial(Instant::now()) else {
            return;
        };
        let backend = self.backend.clone();
        TaskTracker::new().spawn(async move {
            loop {
                let (number, result) = (trial.number(), send_trial(&backend).await);
                trial.ended(&result, Instant::now());
                let Some(next) = breaker.next_own_trial(Instant::now()) else {
                    return;
                };
                tokio::time::sleep_until(next).await;
                // Whoever asked meanwhile has started another one, which goes on in the same way.
                match breaker.start_trial_after(number, Instant::now()) {
                    Some(started) => trial = started,
                    None => return,
                }
            }
        });
    }

    /// Reports a failure of a request, and whether that may have been paid for.
    pub(crate) fn report_failure(&self, permit: Permit, error: &AiError, is_paid: bool) {
        permit.failed(error, is_paid, Instant::now());
        self.send_trial_if_due();
    }

    /// Whether waiting does not help, because an operator has to repair something.
    pub(crate) fn needs_operator(&self) -> bool {
        self.breaker
            .as_ref()
            .is_some_and(|breaker| breaker.operator_failure(Instant::now()).is_some())
    }

    fn acquire(&self, call: &Call) -> Result<Option<Permit>, AiError> {
        let Some(breaker) = &self.breaker else {
            return Ok(None);
        };
        self.send_trial_if_due();
        let now = Instant::now();
        match breaker.acquire(call.person(), call.key(), now) {
            Ok(permit) => Ok(Some(permit)),
            Err(open) => Err(match breaker.operator_failure(now) {
                Some(failure) => AiError::new(failure, true).confirmed(),
                None => open.into(),
            }),
        }
    }

    /// Sends the request and waits for the first event. `number` is that of this candidate, of `of` in all.
    pub(crate) async fn open_completion(
        &self,
        call: &Call,
        prompt: &Prompt,
        (number, of): (usize, usize),
    ) -> Result<OpenCompletion, AiError> {
        let permit = self.acquire(call)?;
        call.asks(&self.model, number);
        let mut progress = Progress::new(call.clone(), prompt, number, of);
        match self.first_event(call, prompt).await {
            Ok((first, rest)) => Ok(OpenCompletion {
                events: reported(self, first, rest, permit, progress),
                model: self.model.clone(),
            }),
            Err(error) => {
                let is_paid = progress.ended();
                // A request that was not sent says nothing about the provider.
                if let Some(permit) = permit.filter(|_| !error.no_permission()) {
                    self.report_failure(permit, &error, is_paid);
                }
                Err(error)
            }
        }
    }

    /// White space at the beginning waits for the text that it belongs to, so that an answer without any is known before anything
    /// was handed out.
    async fn first_event(&self, call: &Call, prompt: &Prompt) -> Result<(CompletionEvent, CompletionStream), AiError> {
        let mut events = self.backend.open(call, prompt).await?;
        if self.backend.is_demo() {
            call.accepted();
            call.is_whole();
        }
        let is_new = is_blank(&prompt.written);
        let mut leading = String::new();
        loop {
            let event = events
                .next()
                .await
                .unwrap_or(Err(AiError::new(Failure::Protocol("an answer without an end"), true)));
            match event.map_err(AiError::before_any_event)? {
                CompletionEvent::Text(text) if is_blank(&text) => leading.push_str(&text),
                CompletionEvent::Text(text) if leading.is_empty() => {
                    return Ok((CompletionEvent::Text(text), events));
                }
                CompletionEvent::Text(text) => {
                    leading.push_str(&text);
                    return Ok((CompletionEvent::Text(leading), events));
                }
                // Nothing of it was handed out.
                CompletionEvent::TakenBack if is_new => leading.clear(),
                taken_back @ CompletionEvent::TakenBack => return Ok((taken_back, events)),
                // The text before may be half a sentence.
                CompletionEvent::Finished { .. } if is_new || !call.adds_nothing_rightly() => {
                    return Err(AiError::new(Failure::EmptyAnswer, true));
                }
                end @ CompletionEvent::Finished { .. } => return Ok((end, events)),
            }
        }
    }
}
