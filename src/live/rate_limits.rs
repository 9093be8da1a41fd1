//! Rate limits by the generic cell rate algorithm (GCRA): so many requests a minute for each key, in a burst if need be.
//!
//! With Redis, all servers share one budget. A server asks Redis once for each refusal: what it has refused, it refuses by
//! itself until the time that Redis gave. While Redis is unavailable, each server counts by itself: requests are neither all
//! refused nor all let through.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::LiveConfig;
use crate::error::InvalidUrl;
use crate::memory::MemoryRateLimit;
use crate::rate_decision::RateDecision;
use crate::redis::RedisRateLimits;
use crate::refusals::Refusals;

/// How long Redis is not asked after a failure, so that requests do not wait for its timeout one after the other.
const REDIS_PAUSE: Duration = Duration::from_secs(1);
/// Redis is available again when nothing has failed for so long: some calls may work while others fail.
const SETTLED: Duration = Duration::from_secs(3);

/// Makes limits that share one store of counts. Cheap to clone.
#[derive(Clone)]
pub struct RateLimiter(Option<Arc<SharedCounts>>);

/// One limit: so many requests a minute for each key.
pub struct Limit {
    name: &'static str,
    per_minute: NonZeroU32,
    memory: MemoryRateLimit,
    shared: Option<Arc<SharedCounts>>,
    /// What Redis has refused.
    refusals: Refusals,
}

/// The counts that all servers share.
struct SharedCounts {
    redis: RedisRateLimits,
    /// The last failure, until Redis is available again.
    last_failure: Mutex<Option<Instant>>,
}

impl RateLimiter {
    /// Counts in this process only.
    pub fn in_process() -> Self {
        Self(None)
    }

    /// Counts on the Redis at `url`, which need not be available yet.
    ///
    /// # Errors
    /// When `url` is not a Redis URL.
    pub fn redis(url: &str, config: LiveConfig) -> Result<Self, InvalidUrl> {
        let redis = RedisRateLimits::connect(url, config)?;
        Ok(Self(Some(Arc::new(SharedCounts {
            redis,
            last_failure: Mutex::new(None),
        }))))
    }

    /// A limit with budgets of its own. `name` identifies it across servers.
    pub fn limit(&self, name: &'static str, per_minute: NonZeroU32) -> Limit {
        Limit {
            name,
            per_minute,
            memory: MemoryRateLimit::new(per_minute),
            shared: self.0.clone(),
            refusals: Refusals::default(),
        }
    }
}

impl Limit {
    /// Spends one request of the budget of `key`, if any is left. At most one call of Redis; none after a refusal, until the
    /// next request is allowed.
    pub async fn spend(&self, key: &str) -> RateDecision {
        if let Some(shared) = &self.shared {
            if let Some(refusal) = self.refusals.find(key) {
                return refusal;
            }
            let call = shared.redis.spend(self.name, key, self.per_minute);
            if let Some(decision) = shared.ask(call).await {
                self.refusals.note(key, decision);
                return decision;
            }
        }
        self.memory.spend(key)
    }

    /// Gives one spent request back to the budget of `key`. If Redis does not answer, the budget is whole again a little later.
    pub async fn refund(&self, key: &str) {
        self.refusals.forget(key);
        if let Some(shared) = &self.shared
            && let Some(()) = shared.ask(shared.redis.refund(self.name, key, self.per_minute)).await
        {
            return;
        }
        self.memory.refund(key);
    }

    /// The decision that refuses `key`, if this server knows that its budget is spent. Spends nothing, and asks nobody.
    pub fn find_refusal(&self, key: &str) -> Option<RateDecision> {
        match &self.shared {
            Some(_) => self.refusals.find(key),
            None => self.memory.find_refusal(key),
        }
    }
}

impl SharedCounts {
    /// What Redis answers to `call`; `None` while it is unavailable.
    async fn ask<T>(&self, call: impl Future<Output = Option<T>>) -> Option<T> {
        let last_failure = || self.last_failure.lock().unwrap_or_else(PoisonError::into_inner);
        let is_paused = |at: Instant| at.elapsed() < REDIS_PAUSE;
        if last_failure().is_some_and(is_paused) {
            return None;
        }
        let answer = call.await;
        if answer.is_none() {
            let before = last_failure().replace(Instant::now());
            if before.is_none() {
                tracing::warn!("Redis cannot be used; each server counts rate limits by itself");
            }
            return None;
        }
        let is_over = last_failure().take_if(|at| at.elapsed() >= SETTLED).is_some();
        if is_over {
            tracing::info!("Redis can be used again; servers share rate limits");
        }
        answer
    }
}
