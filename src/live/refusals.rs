//! The keys that Redis has refused, and until when: a client that goes on all the same costs no call of Redis.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::rate_decision::RateDecision;

/// The most keys that one limit remembers, about 1.5 MB. Beyond it, Redis is asked each time.
const MAX_KEYS: usize = 10_000;

/// The refused keys of one limit.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<HashMap<String, Refusal>>);

struct Refusal {
    decision: RateDecision,
    at: Instant,
}

impl Refusals {
    /// The refusal of `key` as it is now, if it still stands.
    pub(crate) fn find(&self, key: &str) -> Option<RateDecision> {
        self.find_at(key, Instant::now())
    }

    /// Remembers the decision if it refuses `key`.
    pub(crate) fn note(&self, key: &str, decision: RateDecision) {
        self.note_at(key, decision, Instant::now());
    }

    /// Forgets `key`, to which something was given back.
    pub(crate) fn forget(&self, key: &str) {
        self.lock().remove(key);
    }

    fn find_at(&self, key: &str, now: Instant) -> Option<RateDecision> {
        let mut table = self.lock();
        let refusal = table.get(key)?;
        let since = now.saturating_duration_since(refusal.at);
        let retry_after = refusal.decision.retry_after.saturating_sub(since);
        if retry_after.is_zero() {
            table.remove(key);
            return None;
        }
        Some(RateDecision {
            reset: refusal.decision.reset.saturating_sub(since),
            retry_after,
            ..refusal.decision
        })
    }

    fn note_at(&self, key: &str, decision: RateDecision, at: Instant) {
        if decision.allowed {
            return;
        }
        let mut table = self.lock();
        if table.len() >= MAX_KEYS {
            table.retain(|_, refusal| refusal.at + refusal.decision.retry_after > at);
        }
        if table.len() < MAX_KEYS {
            table.insert(key.to_owned(), Refusal { decision, at });
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Refusal>> {
        // Nothing panics while it holds the lock, so a poisoned table is still sound.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn refused_for(seconds: u64) -> RateDecision {
        RateDecision {
            allowed: false,
            limit: 5,
            remaining: 0,
            reset: Duration::from_secs(60),
            retry_after: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn a_refusal_stands_until_the_next_request_is_allowed() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        refusals.note_at("ann", refused_for(12), now);
        let found = refusals.find_at("ann", now + Duration::from_secs(5)).unwrap();
        assert_eq!(
            (found.retry_after, found.reset),
            (Duration::from_secs(7), Duration::from_secs(55))
        );
        assert!(refusals.find_at("bob", now).is_none());
        assert!(refusals.find_at("ann", now + Duration::from_secs(12)).is_none());
    }

    #[test]
    fn a_full_table_makes_room_by_dropping_what_stands_no_more() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        (0..MAX_KEYS).for_each(|n| refusals.note_at(&n.to_string(), refused_for(1), now));
        refusals.note_at("ann", refused_for(1), now);
        assert!(refusals.find_at("ann", now).is_none(), "Redis is asked again");
        let later = now + Duration::from_secs(2);
        refusals.note_at("ann", refused_for(1), later);
        assert!(refusals.find_at("ann", later).is_some());
    }
}
