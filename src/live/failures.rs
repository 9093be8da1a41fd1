//! What wrong passwords cost an account: so many a minute are free, then each wait is twice as long as the last, up to a
//! quarter of an hour. Each failure is forgotten in time.

use std::num::NonZeroU32;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
/// The longest wait.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(15 * 60);

/// How failures are counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FailureRules {
    /// How many failures are free.
    pub(crate) free: u32,
    /// The first wait, and how long it takes until a free failure is forgotten.
    pub(crate) first_wait: Duration,
}

impl FailureRules {
    /// So many failures a minute are free.
    pub(crate) fn per_minute(free: NonZeroU32) -> Self {
        Self {
            free: free.get(),
            first_wait: MINUTE / free.get(),
        }
    }

    /// How long the next try waits after so many failures.
    fn wait_after(self, failures: u32) -> Duration {
        match failures.checked_sub(self.free) {
            None => Duration::ZERO,
            // Beyond that it is the longest wait, whatever the first one was.
            Some(beyond) => self.first_wait.saturating_mul(1 << beyond.min(20)).min(MAX_WAIT),
        }
    }
}

/// The failures of one account. Times are since any fixed moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Failures {
    count: u32,
    /// No try before.
    blocked_until: Duration,
    /// Since when the newest failure is being forgotten.
    forgetting_since: Duration,
}

impl Failures {
    /// Counts a try as a failure in advance, and how long it has to wait instead if it has to.
    pub(crate) fn begin(&mut self, rules: FailureRules, now: Duration) -> Result<(), Duration> {
        self.forget(rules, now);
        self.look(now)?;
        if rules.wait_after(self.count) < MAX_WAIT {
            self.count += 1;
        }
        self.blocked_until = now + rules.wait_after(self.count);
        self.forgetting_since = self.blocked_until;
        Ok(())
    }

    /// How long the next try has to wait, if it has to.
    pub(crate) fn look(&self, now: Duration) -> Result<(), Duration> {
        let wait = self.blocked_until.checked_sub(now).filter(|wait| !wait.is_zero());
        wait.map_or(Ok(()), Err)
    }

    /// Takes back a try that did not fail.
    pub(crate) fn take_back(&mut self, now: Duration) {
        self.count = self.count.saturating_sub(1);
        self.blocked_until = now;
        self.forgetting_since = now;
    }

    /// How many are remembered.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Whether nothing is left to remember.
    pub(crate) fn are_forgotten(&mut self, rules: FailureRules, now: Duration) -> bool {
        self.forget(rules, now);
        self.count == 0
    }

    fn forget(&mut self, rules: FailureRules, now: Duration) {
        while self.count > 0 {
            let after = self.forgetting_since + rules.wait_after(self.count).max(rules.first_wait);
            if after > now {
                break;
            }
            self.forgetting_since = after;
            self.count -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: FailureRules = FailureRules {
        free: 5,
        first_wait: Duration::from_secs(12),
    };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn five_are_free_and_then_every_wait_is_twice_as_long() {
        let (mut failures, mut now) = (Failures::default(), seconds(1_000));
        for _ in 0..5 {
            failures.begin(RULES, now).unwrap();
        }
        for wait in [12, 24, 48, 96, 192, 384, 768, 900, 900, 900] {
            assert_eq!(failures.begin(RULES, now), Err(seconds(wait)));
            now += seconds(wait);
            failures.begin(RULES, now).unwrap();
        }
    }

    #[test]
    fn failures_are_forgotten_and_then_five_are_free_again() {
        let (mut failures, mut now) = (Failures::default(), seconds(1_000));
        for _ in 0..200 {
            now += failures.begin(RULES, now).err().unwrap_or_default();
        }
        assert!(!failures.are_forgotten(RULES, now + seconds(1_800)));
        assert!(failures.are_forgotten(RULES, now + seconds(3_600)));
        for _ in 0..5 {
            failures.begin(RULES, now + seconds(3_600)).unwrap();
        }
    }

    #[test]
    fn somebody_who_mistypes_now_and_then_never_waits() {
        let (mut failures, mut now) = (Failures::default(), seconds(1_000));
        for _ in 0..100 {
            now += seconds(13);
            failures.begin(RULES, now).unwrap();
        }
    }

    #[test]
    fn a_success_is_no_failure() {
        let (mut failures, now) = (Failures::default(), seconds(1_000));
        for _ in 0..100 {
            failures.begin(RULES, now).unwrap();
            failures.take_back(now);
        }
        assert!(failures.are_forgotten(RULES, now));
    }
}
