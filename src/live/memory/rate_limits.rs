//! Rate limits counted in this process.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use crate::rate_decision::RateDecision;

const MINUTE: Duration = Duration::from_secs(60);
/// After how many requests the keys with an unspent budget are removed.
const SWEEP_INTERVAL: u64 = 4096;

/// One limit. Holds only keys that have spent something lately: a whole budget need not be remembered.
pub(crate) struct MemoryRateLimit<C: Clock = DefaultClock> {
    limiter: RateLimiter<String, DefaultKeyedStateStore<String>, C, StateInformationMiddleware>,
    clock: C,
    requests: AtomicU64,
    per_minute: NonZeroU32,
}

impl MemoryRateLimit {
    pub(crate) fn new(per_minute: NonZeroU32) -> Self {
        Self::with_clock(per_minute, DefaultClock::default())
    }
}

impl<C: Clock + Clone> MemoryRateLimit<C> {
    fn with_clock(per_minute: NonZeroU32, clock: C) -> Self {
        let quota = Quota::per_minute(per_minute);
        Self {
            limiter: RateLimiter::new(quota, DefaultKeyedStateStore::default(), clock.clone()),
            clock,
            requests: AtomicU64::new(0),
            per_minute,
        }
    }

    /// Spends one request of the budget of `key`, if any is left.
    pub(crate) fn spend(&self, key: &str) -> RateDecision {
        if self.requests.fetch_add(1, Ordering::Relaxed) % SWEEP_INTERVAL == SWEEP_INTERVAL - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        let limit = self.per_minute.get();
        let each = MINUTE / limit;
        match self.limiter.check_key(&key.to_owned()) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                RateDecision {
                    allowed: true,
                    limit,
                    remaining,
                    reset: each * (limit - remaining.min(limit)),
                    retry_after: Duration::ZERO,
                }
            }
            Err(until) => {
                let retry_after = until.wait_time_from(self.clock.now());
                RateDecision {
                    allowed: false,
                    limit,
                    remaining: 0,
                    reset: retry_after + each * (limit - 1),
                    retry_after,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the pace, no window of any length sees more than the budget plus what came back meanwhile, and a key
        /// that waits as long as announced is allowed again.
        #[test]
        fn no_key_gets_more_than_the_budget_and_what_comes_back(
            per_minute in 1_u32..200,
            waits in proptest::collection::vec(0_u64..3_000, 1..300),
        ) {
            let clock = FakeRelativeClock::default();
            let memory = MemoryRateLimit::with_clock(NonZeroU32::new(per_minute).unwrap(), clock.clone());
            let (mut now, mut allowed_at) = (0_u64, Vec::new());
            for wait in waits {
                clock.advance(Duration::from_millis(wait));
                now += wait;
                let decision = memory.spend("key");
                prop_assert!(decision.remaining < per_minute && decision.limit == per_minute);
                prop_assert_eq!(decision.allowed, decision.retry_after.is_zero());
                prop_assert!(decision.reset <= MINUTE + Duration::from_millis(1), "{:?}", decision);
                if decision.allowed {
                    allowed_at.push(now);
                } else {
                    let ms = u64::try_from(decision.retry_after.as_millis()).unwrap() + 1;
                    clock.advance(Duration::from_millis(ms));
                    now += ms;
                    prop_assert!(memory.spend("key").allowed, "the wait was as long as announced");
                    allowed_at.push(now);
                }
            }
            for (from, first) in allowed_at.iter().enumerate() {
                for (to, last) in allowed_at.iter().enumerate().skip(from) {
                    let back = (last - first) as f64 * f64::from(per_minute) / 60_000.0;
                    prop_assert!((to - from + 1) as f64 <= f64::from(per_minute) + back + 1.0);
                }
            }
        }
    }

    #[test]
    fn each_key_has_its_own_budget_and_it_comes_back() {
        let clock = FakeRelativeClock::default();
        let memory = MemoryRateLimit::with_clock(NonZeroU32::new(5).unwrap(), clock.clone());
        let spend = |key: &str| memory.spend(key);
        let remaining: Vec<u32> = (0..5).map(|_| spend("ann").remaining).collect();
        assert_eq!(remaining, [4, 3, 2, 1, 0]);
        let refused = spend("ann");
        assert!(!refused.allowed && refused.retry_after == Duration::from_secs(12));
        assert_eq!(refused.reset, Duration::from_secs(60));
        assert!(spend("bob").allowed);
        clock.advance(Duration::from_secs(60));
        assert_eq!(spend("ann").remaining, 4);
    }
}
