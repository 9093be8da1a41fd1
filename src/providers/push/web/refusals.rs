//! Signatures that push services refuse: whether it is those of a few strange subscriptions, or ours.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use cura_domain::UserId;

use crate::push::news::is_news;

/// How many refusals one after the other, and of how many people, are not those of a few strange subscriptions: the numbers by
/// which too many lost devices are known (`SUSPECT_AFTER` and `SUSPECT_PEOPLE` in `src/store/pushes`). Clients choose what they register, and one person
/// has twenty devices.
const SENDS: u32 = 50;
const PEOPLE: usize = 3;

/// The refusals since a signature was taken.
#[derive(Default)]
pub(super) struct Refusals(Mutex<Since>);

#[derive(Default)]
struct Since {
    sends: u32,
    /// Some of the people whose browsers they were for, as many as are counted.
    people: Vec<UserId>,
    last: Option<DateTime<Utc>>,
}

impl Refusals {
    /// A signature was taken.
    pub(super) fn end(&self) {
        *self.since() = Since::default();
    }

    /// A signature was refused, for a browser of this person.
    pub(super) fn add(&self, person: UserId, now: DateTime<Utc>) {
        let mut since = self.since();
        if !since.last.is_some_and(|last| is_news(last, now)) {
            *since = Since::default();
        }
        since.last = Some(now);
        since.sends = since.sends.saturating_add(1);
        if since.people.len() < PEOPLE && !since.people.contains(&person) {
            since.people.push(person);
        }
    }

    /// Whether nobody takes our signature, as far as is known now.
    pub(super) fn are_of_all(&self, now: DateTime<Utc>) -> bool {
        let since = self.since();
        let is_recent = since.last.is_some_and(|last| is_news(last, now));
        is_recent && since.sends >= SENDS && since.people.len() >= PEOPLE
    }

    fn since(&self) -> MutexGuard<'_, Since> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const START: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn after(sends: u32, people: i64) -> Refusals {
        let refusals = Refusals::default();
        for send in 0..sends {
            refusals.add(UserId(i64::from(send) % people), START);
        }
        refusals
    }

    #[test]
    fn many_refusals_of_several_people_are_of_all() {
        for (sends, people, are_of_all) in [(50, 3, true), (49, 3, false), (1000, 2, false), (1000, 1, false)] {
            let refusals = after(sends, people);
            assert_eq!(refusals.are_of_all(START), are_of_all, "{sends} sends, {people} people");
        }
    }

    #[test]
    fn one_that_is_taken_ends_them() {
        let refusals = after(100, 3);
        refusals.end();
        assert!(!refusals.are_of_all(START));
        refusals.add(UserId(1), START);
        assert!(!refusals.are_of_all(START), "they are counted from there");
    }

    #[test]
    fn they_lapse_without_news() {
        let refusals = after(50, 3);
        let later = START + TimeDelta::minutes(4);
        assert!(refusals.are_of_all(later));
        let much_later = START + TimeDelta::minutes(5);
        assert!(!refusals.are_of_all(much_later));
        refusals.add(UserId(1), much_later);
        assert!(!refusals.are_of_all(much_later), "counting begins anew");
    }
}
