//! What a failed request says about its provider.

use std::time::Duration;

use crate::ai::error::{AiError, Failure};

/// How long a breaker is open at most.
pub(super) const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// How long it is open after a failure that an operator has to repair.
pub(super) const OPERATOR_BACKOFF: Duration = Duration::from_secs(30);

/// What a failed request says about its provider.
pub(super) enum Outcome {
    /// The provider works, though this request cannot succeed.
    ProviderWorks,
    /// One more key has failed.
    Counts,
    /// The breaker opens at once; `counts` says whether the key has failed, too.
    Opens { counts: bool, backoff: Duration },
    /// The key does not count as failed; a trial has failed nevertheless.
    DoesNotCount,
}

impl Outcome {
    pub(super) fn of(error: &AiError) -> Self {
        let retry_after = error.retry_after().filter(|wait| !wait.is_zero());
        let retry_after = retry_after.map(|wait| wait.min(MAX_BACKOFF));
        let opens = |counts| move |backoff| Self::Opens { counts, backoff };
        match error.failure() {
            Failure::Refused { .. } | Failure::ContextTooLong => Self::ProviderWorks,
            Failure::Unauthorized { .. } | Failure::QuotaExhausted | Failure::Misconfigured(_) => Self::Opens {
                counts: true,
                backoff: OPERATOR_BACKOFF,
            },
            Failure::Unavailable { .. } | Failure::Timeout { .. } | Failure::Protocol(_) => {
                retry_after.map_or(Self::Counts, opens(true))
            }
            Failure::RateLimited { .. } => retry_after.map_or(Self::DoesNotCount, opens(false)),
            // Reported by a circuit breaker, never by a provider.
            Failure::CircuitOpen { .. } => Self::DoesNotCount,
        }
    }
}
