//! Failed sign-ins by account: a try is counted before it is made, and waits when there were too many.
//!
//! With Redis, all servers share the counts. While Redis is unavailable, each server counts by itself.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::failures::FailureRules;
use crate::memory::MemoryFailures;
use crate::redis::RedisFailures;
use crate::{Implementation, Live};

/// How long Redis is not asked after a failure, so that requests do not wait for its timeout one after the other.
const REDIS_PAUSE: Duration = Duration::from_secs(1);

/// The waits of accounts whose passwords are guessed. Cheap to clone.
#[derive(Clone)]
pub struct FailureWaits(Arc<Parts>);

struct Parts {
    rules: FailureRules,
    memory: MemoryFailures,
    redis: Option<RedisFailures>,
    /// Redis is not asked before this time.
    paused_until: Mutex<Option<Instant>>,
}

impl Live {
    /// Waits of accounts, or of whatever `name` says, of which so many failures a minute are free.
    pub fn failure_waits(&self, name: &'static str, free: NonZeroU32) -> FailureWaits {
        let rules = FailureRules::per_minute(free);
        let redis = match &self.implementation {
            Implementation::Memory(_) => None,
            Implementation::Redis(redis) => Some(redis.failures(name)),
        };
        FailureWaits(Arc::new(Parts {
            rules,
            memory: MemoryFailures::new(rules),
            redis,
            paused_until: Mutex::new(None),
        }))
    }
}

impl FailureWaits {
    /// How many failures a minute are free.
    pub fn free(&self) -> u32 {
        self.0.rules.free
    }

    /// Counts a try as a failure, before it is made.
    ///
    /// # Errors
    /// How long the account has to wait instead, at most 15 minutes.
    pub async fn begin(&self, key: &str) -> Result<(), Duration> {
        if let Some(redis) = self.redis() {
            let begun = redis.begin(self.0.rules, key).await;
            self.pause_if(begun.is_none());
            if let Some(begun) = begun {
                return begun;
            }
        }
        self.0.memory.begin(key)
    }

    /// Whether `key` may be tried; counts nothing.
    ///
    /// # Errors
    /// How long it has to wait.
    pub async fn look(&self, key: &str) -> Result<(), Duration> {
        if let Some(redis) = self.redis() {
            let found = redis.look(self.0.rules, key).await;
            self.pause_if(found.is_none());
            if let Some(found) = found {
                return found;
            }
        }
        self.0.memory.look(key)
    }

    /// Takes back a try that did not fail.
    pub async fn take_back(&self, key: &str) {
        if let Some(redis) = self.redis() {
            self.pause_if(redis.take_back(self.0.rules, key).await.is_none());
        }
        self.0.memory.take_back(key);
    }

    /// Redis, if there is one and it is to be asked now.
    fn redis(&self) -> Option<&RedisFailures> {
        let paused_until = *self.0.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        let is_paused = paused_until.is_some_and(|until| Instant::now() < until);
        self.0.redis.as_ref().filter(|_| !is_paused)
    }

    fn pause_if(&self, is_unavailable: bool) {
        let pause = is_unavailable.then(|| Instant::now() + REDIS_PAUSE);
        *self.0.paused_until.lock().unwrap_or_else(PoisonError::into_inner) = pause;
    }
}
