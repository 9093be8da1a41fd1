//! Failover: asks the backends in order, each behind its circuit breaker, until one sends its first event.
//!
//! A backend whose answer is empty is asked once more at once, because the next one may not be; each answer has one such try.
//! No backend is paid more than once more for nothing ([`cura_domain::paid_calls`]).

use std::time::Duration;

use tokio::time::Instant;

use super::call::Call;
use super::candidate::Candidate;
use super::completion::OpenCompletion;
use super::error::{AiError, Failure};
use super::prompt::Prompt;

/// How long a request may have taken that is made again within the same attempt: what an attempt takes has a limit, too.
const ASK_AGAIN_WITHIN: Duration = Duration::from_secs(120);

/// The completion of the first candidate that sends an event. Readers have seen nothing of those that failed before.
pub(crate) async fn open_completion<'a>(
    candidates: impl Iterator<Item = &'a Candidate>,
    of: usize,
    call: &Call,
    prompt: &Prompt,
) -> Result<OpenCompletion, AiError> {
    let mut second_try = SecondTry {
        began: Instant::now(),
        is_used: false,
    };
    let mut reported: Option<AiError> = None;
    for (number, candidate) in candidates.enumerate() {
        if !prompt.written.is_empty() && !candidate.can_continue() {
            continue;
        }
        match ask(candidate, call, prompt, (number, of), &mut second_try).await {
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

/// The one further try of an answer whose first was empty.
struct SecondTry {
    began: Instant,
    is_used: bool,
}

/// Asks one candidate, and once more if its answer was empty. The failure is final if it may not be asked again.
async fn ask(
    candidate: &Candidate,
    call: &Call,
    prompt: &Prompt,
    place: (usize, usize),
    second_try: &mut SecondTry,
) -> Result<OpenCompletion, AiError> {
    let may_ask = || call.paid().lock().may_ask(place.0);
    let mut failed: Option<AiError> = None;
    while may_ask() {
        match candidate.open_completion(call, prompt, place).await {
            Err(error) if *error.failure() == Failure::EmptyAnswer => {
                call.paid().remember(place.0, candidate.model(), &error);
                tracing::warn!(model = candidate.model().model, "the provider's answer is empty");
                if second_try.is_used {
                    return Err(error.finally());
                }
                if second_try.began.elapsed() > ASK_AGAIN_WITHIN {
                    failed = Some(error);
                    break;
                }
                second_try.is_used = true;
                failed = Some(error);
            }
            Err(error) => {
                call.paid().remember(place.0, candidate.model(), &error);
                failed = Some(error);
                break;
            }
            opened => return opened,
        }
    }
    let failed = failed.or_else(|| call.paid().last_failure(place.0));
    // Where attempts of another process have spent all calls, they brought nothing.
    let failed = failed.unwrap_or(AiError::new(Failure::EmptyAnswer, true));
    Err(if may_ask() { failed } else { failed.finally() })
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

#[cfg(test)]
mod tests {
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
            written: "x".to_owned(),
            ..Prompt::of_text(Vec::new(), None)
        };
        let call = Call::without_words(RequestKey::Answer(MessageId(1)));
        let error = open_completion(std::iter::empty(), 0, &call, &prompt)
            .await
            .unwrap_err();
        assert_eq!(error.failure(), &Failure::Refused { status: None });
    }
}
