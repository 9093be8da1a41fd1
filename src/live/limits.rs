//! Rate limits: how often somebody may do something, by the generic cell rate algorithm (GCRA).
//!
//! With Redis all servers share one budget. When Redis is lost, each server counts for itself until it is back: the API
//! neither opens nor closes.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use crate::redis::RedisLimits;
use crate::{InvalidUrl, LiveConfig};

const MINUTE: Duration = Duration::from_secs(60);
/// After how many looks those are forgotten who have their whole budget again.
const SWEEP_EVERY: u64 = 4096;
/// How long Redis is left alone after it failed: nobody else waits for it meanwhile.
const REDIS_PAUSE: Duration = Duration::from_secs(1);

/// What somebody who spends learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether they may.
    pub allowed: bool,
    /// The whole budget.
    pub limit: u32,
    /// How often they may now.
    pub remaining: u32,
    /// How long until the whole budget is back.
    pub reset: Duration,
    /// How long until they may again; zero when they may now.
    pub retry_after: Duration,
}

/// Makes limits that share one place to count in. Cheap to clone.
#[derive(Clone)]
pub struct Limiter(Option<Arc<Shared>>);

struct Shared {
    redis: RedisLimits,
    /// Until when Redis is left alone.
    paused: Mutex<Option<Instant>>,
}

/// One limit: so many per minute, all at once if somebody likes.
pub struct Limit {
    name: &'static str,
    per_minute: NonZeroU32,
    memory: Memory<DefaultClock>,
    shared: Option<Arc<Shared>>,
}

impl Limiter {
    /// Counts in this process.
    pub fn in_process() -> Self {
        Self(None)
    }

    /// Counts on the Redis at `url`, which may be away.
    ///
    /// # Errors
    /// When `url` is no Redis URL.
    pub fn redis(url: &str, config: LiveConfig) -> Result<Self, InvalidUrl> {
        let redis = RedisLimits::connect(url, config)?;
        Ok(Self(Some(Arc::new(Shared {
            redis,
            paused: Mutex::new(None),
        }))))
    }

    /// A limit of its own, called `name`.
    pub fn limit(&self, name: &'static str, per_minute: NonZeroU32) -> Limit {
        Limit {
            name,
            per_minute,
            memory: Memory::new(per_minute, DefaultClock::default()),
            shared: self.0.clone(),
        }
    }
}

impl Limit {
    /// Spends one of `who`'s budget, if there is one.
    pub async fn spend(&self, who: &str) -> Verdict {
        if let Some(shared) = &self.shared
            && let Some(verdict) = shared.spend(self.name, who, self.per_minute).await
        {
            return verdict;
        }
        self.memory.spend(who)
    }
}

impl Shared {
    /// What Redis says; `None` when it says nothing.
    async fn spend(&self, name: &str, who: &str, per_minute: NonZeroU32) -> Option<Verdict> {
        let paused = || self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        if paused().is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let said = self.redis.spend(name, who, per_minute).await;
        let was_lost =
            std::mem::replace(&mut *paused(), said.is_none().then(|| Instant::now() + REDIS_PAUSE)).is_some();
        match (&said, was_lost) {
            (None, false) => tracing::warn!("Redis is lost; rate limits are counted by each server for itself"),
            (Some(_), true) => tracing::info!("rate limits are shared over Redis again"),
            _ => {}
        }
        said
    }
}

/// Counts in memory. Who has the whole budget is forgotten, so it holds the active ones only.
struct Memory<C: Clock> {
    limiter: RateLimiter<String, DefaultKeyedStateStore<String>, C, StateInformationMiddleware>,
    clock: C,
    looks: AtomicU64,
    per_minute: NonZeroU32,
}

impl<C: Clock + Clone> Memory<C> {
    fn new(per_minute: NonZeroU32, clock: C) -> Self {
        let quota = Quota::per_minute(per_minute);
        Self {
            limiter: RateLimiter::new(quota, DefaultKeyedStateStore::default(), clock.clone()),
            clock,
            looks: AtomicU64::new(0),
            per_minute,
        }
    }

    fn spend(&self, who: &str) -> Verdict {
        if self.looks.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        let limit = self.per_minute.get();
        let each = MINUTE / limit;
        match self.limiter.check_key(&who.to_owned()) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                Verdict {
                    allowed: true,
                    limit,
                    remaining,
                    reset: each * (limit - remaining.min(limit)),
                    retry_after: Duration::ZERO,
                }
            }
            Err(until) => {
                let retry_after = until.wait_time_from(self.clock.now());
                Verdict {
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
        /// Whatever the pace, no window of any length sees more than the budget plus what came back meanwhile, and whoever
        /// waits as long as they were told may go on.
        #[test]
        fn nobody_gets_more_than_the_budget_and_what_comes_back(
            per_minute in 1_u32..200,
            waits in proptest::collection::vec(0_u64..3_000, 1..300),
        ) {
            let clock = FakeRelativeClock::default();
            let memory = Memory::new(NonZeroU32::new(per_minute).unwrap(), clock.clone());
            let (mut now, mut allowed_at) = (0_u64, Vec::new());
            for wait in waits {
                clock.advance(Duration::from_millis(wait));
                now += wait;
                let verdict = memory.spend("somebody");
                prop_assert!(verdict.remaining < per_minute && verdict.limit == per_minute);
                prop_assert_eq!(verdict.allowed, verdict.retry_after.is_zero());
                prop_assert!(verdict.reset <= MINUTE + Duration::from_millis(1), "{:?}", verdict);
                if verdict.allowed {
                    allowed_at.push(now);
                } else {
                    let ms = u64::try_from(verdict.retry_after.as_millis()).unwrap() + 1;
                    clock.advance(Duration::from_millis(ms));
                    now += ms;
                    prop_assert!(memory.spend("somebody").allowed, "they waited as they were told");
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
    fn everybody_has_a_budget_of_their_own_and_it_comes_back() {
        let clock = FakeRelativeClock::default();
        let memory = Memory::new(NonZeroU32::new(5).unwrap(), clock.clone());
        let spend = |who: &str| memory.spend(who);
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
