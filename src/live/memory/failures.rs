//! Failures counted in this process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::failures::{FailureRules, Failures};

/// The most accounts that are remembered. Beyond it, those with the fewest failures are forgotten.
const MAX_ACCOUNTS: usize = 50_000;

pub(crate) struct MemoryFailures {
    rules: FailureRules,
    begun: Instant,
    accounts: Mutex<HashMap<String, Failures>>,
}

impl MemoryFailures {
    pub(crate) fn new(rules: FailureRules) -> Self {
        Self {
            rules,
            begun: Instant::now(),
            accounts: Mutex::default(),
        }
    }

    pub(crate) fn begin(&self, key: &str) -> Result<(), Duration> {
        let now = self.begun.elapsed();
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() >= MAX_ACCOUNTS && !accounts.contains_key(key) {
            make_room(&mut accounts, self.rules, now);
        }
        accounts.entry(key.to_owned()).or_default().begin(self.rules, now)
    }

    pub(crate) fn look(&self, key: &str) -> Result<(), Duration> {
        let now = self.begun.elapsed();
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.get(key).map_or(Ok(()), |failures| failures.look(now))
    }

    pub(crate) fn take_back(&self, key: &str) {
        let now = self.begun.elapsed();
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failures) = accounts.get_mut(key) {
            failures.take_back(now);
            if failures.are_forgotten(self.rules, now) {
                accounts.remove(key);
            }
        }
    }
}

/// Forgets what can be forgotten, and then the accounts with the fewest failures, until half of the room is free.
fn make_room(accounts: &mut HashMap<String, Failures>, rules: FailureRules, now: Duration) {
    accounts.retain(|_, failures| !failures.are_forgotten(rules, now));
    let mut fewest = 1;
    while accounts.len() > MAX_ACCOUNTS / 2 {
        accounts.retain(|_, failures| failures.count() > fewest);
        fewest += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[tokio::test]
    async fn however_many_accounts_are_tried_few_are_remembered_and_the_attacked_one_is() {
        let memory = MemoryFailures::new(FailureRules::per_minute(NonZeroU32::new(5).unwrap()));
        for _ in 0..5 {
            memory.begin("attacked").unwrap();
        }
        for n in 0..120_000 {
            memory.begin(&format!("account {n}")).unwrap();
        }
        assert!(memory.accounts.lock().unwrap().len() <= MAX_ACCOUNTS);
        assert!(
            memory
                .begin("attacked")
                .is_err_and(|wait| wait <= Duration::from_secs(12))
        );
        memory.take_back("account 119999");
        assert!(!memory.accounts.lock().unwrap().contains_key("account 119999"));
    }
}
