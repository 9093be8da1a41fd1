//! What a failed request says about its provider.

use std::time::Duration;

use crate::ai::error::{AiError, Failure};

/// How long a breaker is open at most, and how long a person is held at most.
pub(super) const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// How long trials have to fail before an operator has to repair something: a glitch of ten seconds costs nobody an answer.
pub(super) const CONFIRMED_AFTER: Duration = Duration::from_secs(10);
/// How often one is sent until then.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// How often one is sent after that, as long as somebody asks.
pub(super) const RECHECK_INTERVAL: Duration = Duration::from_secs(5);
/// How often while nobody asks.
pub(super) const OPERATOR_BACKOFF: Duration = Duration::from_secs(30);
/// The first back-off; doubled by every failure that follows.
pub(super) const INITIAL_BACKOFF: Duration = Duration::from_secs(5);

/// What a failed request says about its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing: it refuses this request, has nothing to say to it, or limits our rate without saying for how long.
    Neutral,
    /// It failed, and says how long to wait, or not.
    Failed { stated_wait: Option<Duration> },
    /// Every request fails until an operator has repaired something.
    NeedsOperator,
}

impl Outcome {
    pub(super) fn of(error: &AiError) -> Self {
        let stated_wait = error.retry_after().filter(|wait| !wait.is_zero());
        let stated_wait = stated_wait.map(|wait| wait.min(MAX_BACKOFF));
        match error.failure() {
            Failure::Unauthorized { .. } | Failure::QuotaExhausted | Failure::Misconfigured(_) => Self::NeedsOperator,
            Failure::Unavailable { .. } | Failure::Timeout { .. } | Failure::Protocol(_) => {
                Self::Failed { stated_wait }
            }
            Failure::RateLimited { .. } if stated_wait.is_some() => Self::Failed { stated_wait },
            Failure::RateLimited { .. }
            | Failure::Refused { .. }
            | Failure::RefusedPart { .. }
            | Failure::Moderated { .. }
            | Failure::EmptyAnswer
            | Failure::ContextTooLong { .. }
            // Reported by us, never by a provider.
            | Failure::CircuitOpen { .. }
            | Failure::Withdrawn
            | Failure::Unconfirmed => Self::Neutral,
        }
    }
}

/// The back-off after this one.
pub(super) fn doubled(backoff: Option<Duration>) -> Duration {
    backoff.map_or(INITIAL_BACKOFF, |backoff| (backoff * 2).min(MAX_BACKOFF))
}
