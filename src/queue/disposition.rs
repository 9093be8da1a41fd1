//! The outcome of a job's run: complete, retried with back-off, snoozed, released, or discarded.

use std::time::Duration;

use crate::config::WorkersConfig;
use crate::job::JobError;

/// What becomes of the job. See the state diagram of the crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Disposition {
    Complete,
    /// Ready again after a back-off; the attempt is spent.
    Retry {
        after: Duration,
        reason: String,
    },
    /// Dead.
    Discard {
        reason: String,
    },
    /// Ready again after a wait; the attempt is not spent.
    Snooze {
        after: Duration,
        reason: String,
    },
    /// Ready again at once, for another worker; the attempt is not spent.
    Release,
}

impl Disposition {
    /// What becomes of a job whose run on this attempt ended like this.
    pub(crate) fn of(outcome: Result<(), JobError>, attempt: u32, max_attempts: u32, config: &WorkersConfig) -> Self {
        match outcome {
            Ok(()) => Self::Complete,
            Err(JobError::Release) => Self::Release,
            Err(JobError::Snooze { after, reason }) => Self::Snooze { after, reason },
            Err(JobError::Discard { reason }) => Self::Discard { reason },
            Err(JobError::Retry { reason, .. }) if attempt >= max_attempts => Self::Discard {
                reason: format!("attempt {attempt} of {max_attempts}: {reason}"),
            },
            Err(JobError::Retry { after, reason }) => Self::Retry {
                after: after.unwrap_or_default().max(backoff(attempt, config, jitter())),
                reason,
            },
        }
    }

    /// The same without the handler's reason.
    pub(crate) fn without_reason(&self) -> Self {
        let reason = "its reason could not be stored".to_owned();
        match self {
            Self::Complete => Self::Complete,
            Self::Retry { after, .. } => Self::Retry { after: *after, reason },
            Self::Discard { .. } => Self::Discard { reason },
            Self::Snooze { after, .. } => Self::Snooze { after: *after, reason },
            Self::Release => Self::Release,
        }
    }
}

/// A factor for [`backoff`]: full jitter, so that jobs that fail together do not come back together.
fn jitter() -> f64 {
    #[expect(clippy::disallowed_methods, reason = "jitter needs no secrecy and no reproduction")]
    rand::RngExt::random_range(&mut rand::rng(), 0.0..1.0)
}

/// `factor` of the longest wait after an attempt, which doubles with each and has a ceiling.
fn backoff(attempt: u32, config: &WorkersConfig, factor: f64) -> Duration {
    config
        .first_backoff
        .saturating_mul(2u32.saturating_pow(attempt.saturating_sub(1)))
        .min(config.max_backoff)
        .mul_f64(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_and_has_a_ceiling() {
        let config = WorkersConfig {
            first_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(300),
            ..WorkersConfig::default()
        };
        let waits =
            |factor| [1, 2, 3, 9, 10, 40, u32::MAX].map(|attempt| backoff(attempt, &config, factor).as_millis());
        assert_eq!(waits(1.0), [1000, 2000, 4000, 256_000, 300_000, 300_000, 300_000]);
        assert_eq!(waits(0.25), [250, 500, 1000, 64_000, 75_000, 75_000, 75_000]);
    }

    #[test]
    fn two_that_fail_together_do_not_come_back_together() {
        let config = WorkersConfig::default();
        let wait = || {
            let failed = Err(JobError::Retry {
                after: None,
                reason: "x".into(),
            });
            match Disposition::of(failed, 3, 9, &config) {
                Disposition::Retry { after, .. } => after,
                other => panic!("{other:?}"),
            }
        };
        let waits = [wait(), wait()];
        assert_ne!(waits[0], waits[1]);
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(4)), "{waits:?}");
    }

    #[test]
    fn the_last_attempt_is_the_last() {
        let config = WorkersConfig::default();
        let retry = || {
            Err(JobError::Retry {
                after: Some(Duration::from_secs(7)),
                reason: "x".into(),
            })
        };
        assert!(
            matches!(Disposition::of(retry(), 1, 2, &config), Disposition::Retry { after, .. } if after.as_secs() == 7)
        );
        assert!(matches!(
            Disposition::of(retry(), 2, 2, &config),
            Disposition::Discard { .. }
        ));
        let released = Disposition::of(Err(JobError::Release), 2, 2, &config);
        assert_eq!(released, Disposition::Release);
    }
}
