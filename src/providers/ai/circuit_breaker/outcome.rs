//! What a failed request says about its provider.

use std::time::Duration;

use crate::ai::error::{AiError, Failure};

/// How long a breaker is open at most, and how long a person is held at most.
pub(super) const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// How long it is open after a failure that an operator has to repair.
pub(super) const OPERATOR_BACKOFF: Duration = Duration::from_secs(30);
/// The first back-off; doubled by every failure that follows.
pub(super) const INITIAL_BACKOFF: Duration = Duration::from_secs(5);

/// What a failed request says about its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing: it refuses this request, or limits our rate without saying for how long.
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
            | Failure::ContextTooLong
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
