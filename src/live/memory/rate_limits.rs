//! Rate limits counted in this process, by the same algorithm as the script on Redis.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::rate_decision::RateDecision;

const MINUTE: Duration = Duration::from_secs(60);
/// The most keys that one limit remembers, about 10 MB. Whoever has more addresses than that has as many budgets anyway.
const MAX_KEYS: usize = 100_000;
/// Keys with a whole budget are removed when the table has grown to twice what was left the last time, but not before this.
const FIRST_SWEEP: usize = 1024;

/// One limit. Holds only keys that have spent something lately: a whole budget need not be remembered.
pub(crate) struct MemoryRateLimit {
    per_minute: NonZeroU32,
    table: Mutex<Table>,
}

struct Table {
    /// When the budget of each key is whole again.
    whole_at: HashMap<String, Instant>,
    sweep_at: usize,
}

impl MemoryRateLimit {
    pub(crate) fn new(per_minute: NonZeroU32) -> Self {
        Self {
            per_minute,
            table: Mutex::new(Table {
                whole_at: HashMap::new(),
                sweep_at: FIRST_SWEEP,
            }),
        }
    }

    /// Spends one request of the budget of `key`, if any is left.
    pub(crate) fn spend(&self, key: &str) -> RateDecision {
        self.spend_at(key, Instant::now())
    }

    /// Gives one spent request back to the budget of `key`.
    pub(crate) fn refund(&self, key: &str) {
        let each = self.each();
        if let Some(whole_at) = self.lock().whole_at.get_mut(key) {
            *whole_at = whole_at.checked_sub(each).unwrap_or(*whole_at);
        }
    }

    /// The decision that refuses `key`, if its budget is spent.
    pub(crate) fn find_refusal(&self, key: &str) -> Option<RateDecision> {
        let now = Instant::now();
        let owed = self.lock().whole_at.get(key)?.saturating_duration_since(now);
        self.refuse(owed)
    }

    fn spend_at(&self, key: &str, now: Instant) -> RateDecision {
        let limit = self.per_minute.get();
        let mut table = self.lock();
        let owed = table
            .whole_at
            .get(key)
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        if let Some(refusal) = self.refuse(owed) {
            return refusal;
        }
        let owed = owed + self.each();
        table.insert(key, now + owed, now);
        let left = (self.each() * limit).saturating_sub(owed).as_nanos() / self.each().as_nanos();
        RateDecision {
            allowed: true,
            limit,
            remaining: u32::try_from(left).unwrap_or(limit),
            reset: owed,
            retry_after: Duration::ZERO,
        }
    }

    /// The refusal of a key that owes so much time.
    fn refuse(&self, owed: Duration) -> Option<RateDecision> {
        let limit = self.per_minute.get();
        let retry_after = owed.saturating_sub(self.each() * (limit - 1));
        (!retry_after.is_zero()).then_some(RateDecision {
            allowed: false,
            limit,
            remaining: 0,
            reset: owed,
            retry_after,
        })
    }

    /// How long it takes until one request comes back.
    fn each(&self) -> Duration {
        MINUTE / self.per_minute.get()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it holds the lock, so a poisoned table is still sound.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn insert(&mut self, key: &str, whole_at: Instant, now: Instant) {
        if let Some(known) = self.whole_at.get_mut(key) {
            *known = whole_at;
            return;
        }
        if self.whole_at.len() >= self.sweep_at {
            self.whole_at.retain(|_, at| *at > now);
            self.whole_at.shrink_to(FIRST_SWEEP);
            self.sweep_at = (self.whole_at.len() * 2).clamp(FIRST_SWEEP, MAX_KEYS);
        }
        if self.whole_at.len() < MAX_KEYS {
            self.whole_at.insert(key.to_owned(), whole_at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limit(per_minute: u32) -> MemoryRateLimit {
        MemoryRateLimit::new(NonZeroU32::new(per_minute).unwrap())
    }

    proptest! {
        /// Whatever the pace, no window of any length sees more than the budget plus what came back meanwhile, and a key
        /// that waits as long as announced is allowed again.
        #[test]
        fn no_key_gets_more_than_the_budget_and_what_comes_back(
            per_minute in 1_u32..200,
            waits in proptest::collection::vec(0_u64..3_000, 1..300),
        ) {
            let memory = limit(per_minute);
            let begun = Instant::now();
            let (mut now, mut allowed_at) = (0_u64, Vec::new());
            for wait in waits {
                now += wait;
                let spend = |now| memory.spend_at("key", begun + Duration::from_millis(now));
                let decision = spend(now);
                prop_assert!(decision.remaining < per_minute && decision.limit == per_minute);
                prop_assert_eq!(decision.allowed, decision.retry_after.is_zero());
                prop_assert!(decision.reset <= MINUTE + Duration::from_millis(1), "{:?}", decision);
                if decision.allowed {
                    allowed_at.push(now);
                } else {
                    now += u64::try_from(decision.retry_after.as_millis()).unwrap() + 1;
                    prop_assert!(spend(now).allowed, "the wait was as long as announced");
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
        let (memory, now) = (limit(5), Instant::now());
        let remaining: Vec<u32> = (0..5).map(|_| memory.spend_at("ann", now).remaining).collect();
        assert_eq!(remaining, [4, 3, 2, 1, 0]);
        let refused = memory.spend_at("ann", now);
        assert!(!refused.allowed && refused.retry_after == Duration::from_secs(12));
        assert_eq!(refused.reset, Duration::from_secs(60));
        assert!(memory.find_refusal("ann").is_some() && memory.find_refusal("bob").is_none());
        assert!(memory.spend_at("bob", now).allowed);
        assert_eq!(memory.spend_at("ann", now + MINUTE).remaining, 4);
    }

    #[test]
    fn what_is_given_back_can_be_spent_again() {
        let (memory, now) = (limit(2), Instant::now());
        assert!(memory.spend_at("ann", now).allowed && memory.spend_at("ann", now).allowed);
        memory.refund("ann");
        memory.refund("unknown");
        assert!(memory.spend_at("ann", now).allowed);
        assert!(!memory.spend_at("ann", now).allowed);
    }

    #[test]
    fn a_table_of_keys_that_owe_nothing_any_more_does_not_grow() {
        let (memory, begun) = (limit(60), Instant::now());
        for n in 0..20_000 {
            memory.spend_at(&n.to_string(), begun + Duration::from_millis(n * 10));
        }
        assert!(memory.lock().whole_at.len() <= FIRST_SWEEP, "a hundred owe at any time");
    }
}
