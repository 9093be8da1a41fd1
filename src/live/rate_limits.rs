//! Rate limits by the generic cell rate algorithm (GCRA): so many requests a minute for each key, in a burst if need be.
//!
//! With Redis, all servers share one budget. While Redis is unavailable, each server counts by itself: requests are
//! neither all refused nor all let through.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::LiveConfig;
use crate::error::InvalidUrl;
use crate::memory::MemoryRateLimit;
use crate::rate_decision::RateDecision;
use crate::redis::RedisRateLimits;

/// How long Redis is not asked after a failure, so that requests do not wait for its timeout one after the other.
const REDIS_PAUSE: Duration = Duration::from_secs(1);

/// Makes limits that share one store of counts. Cheap to clone.
#[derive(Clone)]
pub struct RateLimiter(Option<Arc<SharedCounts>>);

/// One limit: so many requests a minute for each key.
pub struct Limit {
    name: &'static str,
    per_minute: NonZeroU32,
    memory: MemoryRateLimit,
    shared: Option<Arc<SharedCounts>>,
}

/// The counts that all servers share.
struct SharedCounts {
    redis: RedisRateLimits,
    /// Redis is not asked before this time.
    paused_until: Mutex<Option<Instant>>,
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
            paused_until: Mutex::new(None),
        }))))
    }

    /// A limit with budgets of its own. `name` identifies it across servers.
    pub fn limit(&self, name: &'static str, per_minute: NonZeroU32) -> Limit {
        Limit {
            name,
            per_minute,
            memory: MemoryRateLimit::new(per_minute),
            shared: self.0.clone(),
        }
    }
}

impl Limit {
    /// Spends one request of the budget of `key`, if any is left.
    pub async fn spend(&self, key: &str) -> RateDecision {
        if let Some(shared) = &self.shared
            && let Some(decision) = shared.spend(self.name, key, self.per_minute).await
        {
            return decision;
        }
        self.memory.spend(key)
    }
}

impl SharedCounts {
    /// The decision of Redis; `None` while it is unavailable.
    async fn spend(&self, name: &str, key: &str, per_minute: NonZeroU32) -> Option<RateDecision> {
        let paused_until = || self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        if paused_until().is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let decision = self.redis.spend(name, key, per_minute).await;
        let pause = decision.is_none().then(|| Instant::now() + REDIS_PAUSE);
        let was_unavailable = std::mem::replace(&mut *paused_until(), pause).is_some();
        match (&decision, was_unavailable) {
            (None, false) => tracing::warn!("Redis is unavailable; each server counts rate limits by itself"),
            (Some(_), true) => tracing::info!("Redis is available again; servers share rate limits"),
            _ => {}
        }
        decision
    }
}
