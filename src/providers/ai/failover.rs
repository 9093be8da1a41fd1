//! Failover: asks the backends in order, each behind its circuit breaker, until one sends its first event.

use futures_util::stream::{self, StreamExt};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use cura_domain::{ModelRef, UserId};

use super::backend::Backend;
use super::call::Call;
use super::circuit_breaker::{CircuitBreaker, Permit};
use super::completion::{CompletionEvent, CompletionStream, OpenCompletion};
use super::error::{AiError, CircuitOpen, Failure};
use super::prompt::Prompt;
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

    pub(crate) fn can_continue(&self) -> bool {
        self.backend.can_continue()
    }

    pub(crate) fn token_counter(&self) -> TokenCounter {
        self.backend.token_counter()
    }

    pub(crate) fn max_prompt_tokens(&self) -> Option<usize> {
        self.backend.max_prompt_tokens()
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
        self.breaker.as_ref().is_some_and(CircuitBreaker::holds_anybody)
    }

    /// Sends a trial, if one is due, beside what the caller does. It has a time limit.
    fn send_trial_if_due(&self) {
        let due = self
            .breaker
            .as_ref()
            .and_then(|breaker| breaker.start_trial(Instant::now()));
        if let Some(trial) = due {
            let backend = self.backend.clone();
            TaskTracker::new().spawn(async move {
                let result = send_trial(&backend).await;
                trial.ended(&result, Instant::now());
            });
        }
    }

    fn report_failure(&self, permit: Permit, error: &AiError) {
        permit.failed(error, Instant::now());
        self.send_trial_if_due();
    }

    /// Whether waiting does not help, because an operator has to repair something.
    pub(crate) fn needs_operator(&self) -> bool {
        self.breaker
            .as_ref()
            .is_some_and(|breaker| breaker.operator_failure().is_some())
    }

    fn acquire(&self, call: &Call) -> Result<Option<Permit>, AiError> {
        let Some(breaker) = &self.breaker else {
            return Ok(None);
        };
        self.send_trial_if_due();
        match breaker.acquire(call.person(), call.key(), Instant::now()) {
            Ok(permit) => Ok(Some(permit)),
            Err(open) => Err(match breaker.operator_failure() {
                Some(failure) => AiError::new(failure, true),
                None => open.into(),
            }),
        }
    }

    /// Sends the request and waits for the first event.
    async fn open_completion(&self, call: &Call, prompt: &Prompt) -> Result<OpenCompletion, AiError> {
        let permit = self.acquire(call)?;
        match self.first_event(call, prompt).await {
            Ok((first, rest)) => Ok(OpenCompletion {
                events: reporting_to_breaker(self, first, rest, permit),
                model: self.model.clone(),
            }),
            Err(error) => {
                // A request that was not sent says nothing about the provider.
                if let Some(permit) = permit.filter(|_| !error.no_permission()) {
                    self.report_failure(permit, &error);
                }
                Err(error)
            }
        }
    }

    async fn first_event(&self, call: &Call, prompt: &Prompt) -> Result<(CompletionEvent, CompletionStream), AiError> {
        let mut events = self.backend.open(call, prompt).await?;
        call.accept(&self.model);
        match events.next().await {
            Some(first) => Ok((first?, events)),
            None => Err(AiError::new(Failure::Protocol("an answer without an end"), true)),
        }
    }
}

/// The completion of the first candidate that sends an event. Readers have seen nothing of those that failed before.
pub(crate) async fn open_completion<'a>(
    candidates: impl Iterator<Item = &'a Candidate>,
    call: &Call,
    prompt: &Prompt,
) -> Result<OpenCompletion, AiError> {
    let mut reported: Option<AiError> = None;
    for candidate in candidates {
        if !prompt.written.is_empty() && !candidate.can_continue() {
            continue;
        }
        match candidate.open_completion(call, prompt).await {
            Ok(completion) => return Ok(completion),
            Err(error) if error.no_permission() => return Err(error),
            Err(error) => {
                reported = Some(match reported {
                    Some(earlier) => more_useful(earlier, error),
                    None => error,
                });
            }
        }
    }
    // Without any failure, no backend can continue the text.
    Err(reported.unwrap_or(AiError::new(Failure::Refused { status: None }, true)))
}

/// The failure to report of two: one that may pass rather than one that does not, then the one that may pass sooner.
fn more_useful(earlier: AiError, later: AiError) -> AiError {
    let wait = |error: &AiError| error.retryable().then(|| error.retry_after().unwrap_or_default());
    match (wait(&earlier), wait(&later)) {
        (None, Some(_)) => later,
        (Some(of_earlier), Some(of_later)) if of_later < of_earlier => later,
        _ => earlier,
    }
}

struct Reporting {
    candidate: Candidate,
    first: Option<CompletionEvent>,
    rest: CompletionStream,
    permit: Option<Permit>,
}

/// `first`, then `rest`; reports to the circuit breaker how the completion ends.
fn reporting_to_breaker(
    candidate: &Candidate,
    first: CompletionEvent,
    rest: CompletionStream,
    mut permit: Option<Permit>,
) -> CompletionStream {
    if matches!(first, CompletionEvent::Finished { .. })
        && let Some(permit) = permit.take()
    {
        permit.succeeded();
    }
    let reporting = Reporting {
        candidate: candidate.clone(),
        first: Some(first),
        rest,
        permit,
    };
    CompletionStream::new(stream::unfold(reporting, |mut reporting| async move {
        if let Some(first) = reporting.first.take() {
            return Some((Ok(first), reporting));
        }
        let event = reporting.rest.next().await?;
        match (&event, reporting.permit.take()) {
            (Ok(CompletionEvent::Text(_) | CompletionEvent::TakenBack), permit) => reporting.permit = permit,
            (Ok(CompletionEvent::Finished { .. }), Some(permit)) => permit.succeeded(),
            (Err(error), Some(permit)) => reporting.candidate.report_failure(permit, error),
            (_, None) => {}
        }
        Some((event, reporting))
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cura_domain::MessageId;

    use super::*;
    use crate::ai::call::RequestKey;

    fn limited(seconds: Option<u64>) -> AiError {
        let retry_after = seconds.map(Duration::from_secs);
        AiError::new(Failure::RateLimited { retry_after }, true)
    }

    #[test]
    fn the_failure_that_passes_soonest_is_reported() {
        let refused = AiError::new(Failure::Refused { status: Some(404) }, true);
        let quota = AiError::new(Failure::QuotaExhausted, true);
        assert_eq!(more_useful(quota.clone(), refused.clone()), quota);
        assert_eq!(more_useful(refused, limited(Some(9))), limited(Some(9)));
        assert_eq!(more_useful(limited(Some(9)), limited(Some(2))), limited(Some(2)));
        assert_eq!(more_useful(limited(Some(9)), limited(None)), limited(None));
        assert_eq!(more_useful(limited(Some(9)), quota), limited(Some(9)));
    }

    #[tokio::test]
    async fn a_backend_that_cannot_continue_is_not_asked_to() {
        let prompt = Prompt {
            messages: Vec::new(),
            max_output_tokens: None,
            written: "x".to_owned(),
        };
        let call = Call::without_words(RequestKey::Answer(MessageId(1)));
        let error = open_completion(std::iter::empty(), &call, &prompt).await.unwrap_err();
        assert_eq!(error.failure(), &Failure::Refused { status: None });
    }
}
