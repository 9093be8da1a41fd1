//! The persons whose requests have failed: who is held, and whether more than one person is concerned.

use std::collections::VecDeque;
use std::time::Duration;

use cura_domain::UserId;
use tokio::time::Instant;

use super::outcome::doubled;
use crate::ai::call::RequestKey;

/// Requests of one person that have to fail before the person is held.
pub(super) const FAILED_KEYS_TO_HOLD: usize = 5;
/// Persons that have to fail before it may be the provider.
const FAILED_PERSONS_TO_SUSPECT: usize = 2;
/// Persons that are remembered; the one who failed longest ago is forgotten first.
const MAX_PERSONS: usize = 256;

/// A person whose requests have failed since their last complete answer.
#[derive(Debug)]
struct FailedPerson {
    user: UserId,
    /// Their requests that failed, at most [`FAILED_KEYS_TO_HOLD`].
    keys: Vec<RequestKey>,
    held_until: Option<Instant>,
    backoff: Option<Duration>,
    /// Whether a request failed since anybody's last complete answer, or the last trial that succeeded.
    is_recent: bool,
    /// Whether a request failed as if an operator had to act, and no trial has ended since.
    awaits_trial: bool,
}

impl FailedPerson {
    const fn new(user: UserId) -> Self {
        Self {
            user,
            keys: Vec::new(),
            held_until: None,
            backoff: None,
            is_recent: false,
            awaits_trial: false,
        }
    }
}

/// All of them, the one who failed last at the end.
#[derive(Debug, Default)]
pub(super) struct FailedPersons(VecDeque<FailedPerson>);

impl FailedPersons {
    /// How long requests of this person have to wait, if they do.
    pub(super) fn wait(&self, user: UserId, now: Instant) -> Option<Duration> {
        let until = self.0.iter().find(|person| person.user == user)?.held_until?;
        Some(until.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    /// Whether anybody is held.
    pub(super) fn hold_anybody(&self, now: Instant) -> bool {
        self.count_held(now) > 0
    }

    /// How many persons are held, of those that are remembered.
    pub(super) fn count_held(&self, now: Instant) -> usize {
        let is_held = |person: &&FailedPerson| person.held_until.is_some_and(|until| now < until);
        self.0.iter().filter(is_held).count()
    }

    /// Whether this person waits for a trial.
    pub(super) fn awaits_trial(&self, user: UserId) -> bool {
        self.0.iter().any(|person| person.user == user && person.awaits_trial)
    }

    /// Whether anybody waits for a trial.
    pub(super) fn await_trial(&self) -> bool {
        self.0.iter().any(|person| person.awaits_trial)
    }

    /// A trial has ended.
    pub(super) fn trial_ended(&mut self) {
        for person in &mut self.0 {
            person.awaits_trial = false;
        }
    }

    /// Records that a request failed as if an operator had to act: the person waits for a trial, which tells.
    pub(super) fn needs_operator(&mut self, user: UserId) {
        let mut person = self.take(user).unwrap_or(FailedPerson::new(user));
        person.awaits_trial = true;
        self.push(person);
    }

    /// Records that a request failed.
    pub(super) fn failed(&mut self, user: UserId, key: RequestKey, stated_wait: Option<Duration>, now: Instant) {
        let mut person = self.take(user).unwrap_or(FailedPerson::new(user));
        person.is_recent = true;
        if person.keys.len() < FAILED_KEYS_TO_HOLD && !person.keys.contains(&key) {
            person.keys.push(key);
        }
        // Requests that were sent together fail together, and count once.
        let is_held = person.held_until.is_some_and(|until| now < until);
        if person.keys.len() == FAILED_KEYS_TO_HOLD && !is_held {
            let backoff = doubled(person.backoff);
            person.backoff = Some(backoff);
            person.held_until = Some(now + backoff);
        }
        if let Some(wait) = stated_wait {
            person.held_until = person.held_until.max(Some(now + wait));
        }
        self.push(person);
    }

    fn push(&mut self, person: FailedPerson) {
        if self.0.len() == MAX_PERSONS {
            self.0.pop_front();
        }
        self.0.push_back(person);
    }

    /// Records a complete answer to this person.
    pub(super) fn completed(&mut self, user: Option<UserId>) {
        if let Some(user) = user {
            self.take(user);
        }
        self.forgive();
    }

    /// The provider works: earlier failures say nothing about it any more. Who is held stays so.
    pub(super) fn forgive(&mut self) {
        for person in &mut self.0 {
            person.is_recent = false;
        }
    }

    /// Whether what failed may be the provider's fault.
    pub(super) fn may_be_the_provider(&self) -> bool {
        let mut recent = self.0.iter().filter(|person| person.is_recent);
        recent.clone().count() >= FAILED_PERSONS_TO_SUSPECT
            || recent.any(|person| person.keys.len() == FAILED_KEYS_TO_HOLD)
    }

    fn take(&mut self, user: UserId) -> Option<FailedPerson> {
        let at = self.0.iter().position(|person| person.user == user)?;
        self.0.remove(at)
    }
}

#[cfg(test)]
mod tests {
    use cura_domain::MessageId;

    use super::*;

    #[test]
    fn no_more_persons_are_remembered_than_the_limit() {
        let (mut persons, now) = (FailedPersons::default(), Instant::now());
        for user in 0..1000 {
            persons.failed(UserId(user), RequestKey::Answer(MessageId(user)), None, now);
        }
        assert_eq!(persons.0.len(), MAX_PERSONS);
        assert_eq!(persons.0.back().map(|person| person.user), Some(UserId(999)));
    }
}
