//! The watchers of this process, and what a task that reports them elsewhere has not reported yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cura_domain::{MessageId, UserId};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::looks::Looks;
use crate::watchers::{LastLook, Liveness, PRESENCE_INTERVAL, PRESENCE_TTL, SIGN_OF_LIFE_TTL};

/// How many departures may wait to be reported. Further ones are not reported: they end by themselves, as losses.
const MAX_DEPARTURES: usize = 10_000;

/// The watchers of this process. Cheap to clone; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct WatcherTable(Arc<Shared>);

#[derive(Default)]
struct Shared {
    table: Mutex<Table>,
    /// Woken when there is something to report.
    has_changed: Notify,
}

#[derive(Default)]
struct Table {
    watchers: HashMap<UserId, Vec<Entry>>,
    /// Numbers watchers.
    last_id: u64,
    notes: Notes,
}

/// Who has to know of changes.
enum Notes {
    /// This process alone.
    Looks(Looks),
    /// A task, which takes them.
    Changes(Changes),
}

/// What was not reported yet.
#[derive(Default)]
struct Changes {
    /// The users with changes, and who has left.
    users: HashMap<UserId, Vec<Departure>>,
    departures: usize,
}

struct Entry {
    id: u64,
    /// The last sign of life of one that has to show them.
    sign: Option<Instant>,
    is_visible: bool,
    /// The sign of life that was reported last, or when it was reported; `None` if nobody has heard of it.
    reported: Option<Instant>,
}

/// A watcher that does not count any more.
pub(crate) struct Departure {
    pub(crate) id: u64,
    /// When it left in order. `None` if it was lost, or is hidden.
    pub(crate) in_order_at: Option<Instant>,
}

/// What there is to report of one user.
pub(crate) struct WatcherReport {
    pub(crate) user: UserId,
    /// Comes before the watchers: one may have been hidden and shown again.
    pub(crate) departures: Vec<Departure>,
    /// The watchers that count, and for how long.
    pub(crate) watchers: Vec<(u64, Duration)>,
}

impl Default for Notes {
    fn default() -> Self {
        Self::Looks(Looks::default())
    }
}

impl Changes {
    fn note(&mut self, user: UserId, departure: Option<Departure>) {
        let departures = self.users.entry(user).or_default();
        if let Some(departure) = departure
            && self.departures < MAX_DEPARTURES
        {
            departures.push(departure);
            self.departures += 1;
        }
    }

    fn take(&mut self, user: UserId) -> Vec<Departure> {
        let departures = self.users.remove(&user).unwrap_or_default();
        self.departures -= departures.len();
        departures
    }
}

impl Entry {
    /// For how long it counts; `None` if it does not.
    fn counts_for(&self, now: Instant) -> Option<Duration> {
        let left = match self.sign {
            Some(sign) => (sign + SIGN_OF_LIFE_TTL).saturating_duration_since(now),
            None => PRESENCE_TTL,
        };
        (self.is_visible && !left.is_zero()).then_some(left.min(PRESENCE_TTL))
    }
}

impl WatcherTable {
    /// A table whose changes are taken by [`Self::take_changes`].
    pub(crate) fn reported() -> Self {
        let table = Table {
            notes: Notes::Changes(Changes::default()),
            ..Table::default()
        };
        Self(Arc::new(Shared {
            table: Mutex::new(table),
            has_changed: Notify::new(),
        }))
    }

    /// Adds a watcher, and returns its number.
    pub(crate) fn add(&self, user: UserId, liveness: Liveness, now: Instant) -> u64 {
        let mut table = self.lock();
        table.last_id += 1;
        let id = table.last_id;
        table.watchers.entry(user).or_default().push(Entry {
            id,
            sign: (liveness == Liveness::Shown).then_some(now),
            is_visible: true,
            reported: None,
        });
        self.note(table, user, None);
        id
    }

    pub(crate) fn set_visible(&self, user: UserId, id: u64, is_visible: bool) {
        let mut table = self.lock();
        let Some(entry) = table.entry(user, id) else {
            return;
        };
        if entry.is_visible == is_visible {
            return;
        }
        entry.is_visible = is_visible;
        let is_known = entry.reported.is_some();
        let hidden = Departure { id, in_order_at: None };
        if is_visible || is_known {
            self.note(table, user, (!is_visible).then_some(hidden));
        }
    }

    /// Notes a sign of life of a watcher that has to show them.
    pub(crate) fn note_sign(&self, user: UserId, id: u64, now: Instant) {
        let mut table = self.lock();
        let Some(entry) = table.entry(user, id) else {
            return;
        };
        let Some(sign) = &mut entry.sign else {
            return;
        };
        *sign = now;
        // One that is reported as younger than that is reported again in time.
        let is_due = entry
            .reported
            .is_none_or(|reported| now.duration_since(reported) >= PRESENCE_INTERVAL);
        if is_due && entry.is_visible {
            self.note(table, user, None);
        }
    }

    /// Removes a watcher, which has left in order or was lost.
    pub(crate) fn remove(&self, user: UserId, id: u64, is_in_order: bool, now: Instant) {
        let mut table = self.lock();
        let Some(entries) = table.watchers.get_mut(&user) else {
            return;
        };
        let at = entries.iter().position(|entry| entry.id == id);
        let removed = at.map(|at| entries.swap_remove(at));
        if entries.is_empty() {
            table.watchers.remove(&user);
        }
        let is_known = removed.is_some_and(|entry| entry.reported.is_some());
        match &mut table.notes {
            Notes::Looks(looks) if is_in_order => looks.note_closed(user, id, now),
            Notes::Changes(_) if is_known => {
                let in_order_at = is_in_order.then_some(now);
                self.note(table, user, Some(Departure { id, in_order_at }));
            }
            // Nobody has heard of it.
            Notes::Looks(_) | Notes::Changes(_) => {}
        }
    }

    /// Whether a watcher of this process counts.
    pub(crate) fn is_watched(&self, user: UserId, now: Instant) -> bool {
        self.lock().counting(user, now).next().is_some()
    }

    /// As [`Self::is_watched`], and remembers who watches, for [`Self::last_look`].
    pub(crate) fn look_at_end(&self, user: UserId, answer: MessageId, now: Instant) -> bool {
        let mut table = self.lock();
        let watching: Vec<u64> = table.counting(user, now).collect();
        let is_watched = !watching.is_empty();
        if let Notes::Looks(looks) = &mut table.notes {
            looks.remember(answer, watching, now);
        }
        is_watched
    }

    /// Whether somebody watches, and whether one of those who watched at the end has left in order since.
    pub(crate) fn last_look(&self, user: UserId, answer: MessageId, now: Instant) -> LastLook {
        let table = self.lock();
        LastLook {
            is_watched: table.counting(user, now).next().is_some(),
            closed_in_order: match &table.notes {
                Notes::Looks(looks) => looks.closed_in_order(user, answer, now),
                Notes::Changes(_) => false,
            },
        }
    }

    /// Waits until there are changes. Cancel-safe.
    pub(crate) async fn changed(&self) {
        self.0.has_changed.notified().await;
    }

    /// The changes of at most so many users.
    pub(crate) fn take_changes(&self, max: usize, now: Instant) -> Vec<WatcherReport> {
        let mut table = self.lock();
        let Notes::Changes(changes) = &table.notes else {
            return Vec::new();
        };
        let users: Vec<UserId> = changes.users.keys().take(max).copied().collect();
        users.into_iter().map(|user| table.report(user, now)).collect()
    }

    /// Everything that there is to report of these users.
    pub(crate) fn report_all(&self, users: &[UserId], now: Instant) -> Vec<WatcherReport> {
        let mut table = self.lock();
        users.iter().map(|user| table.report(*user, now)).collect()
    }

    /// The users with watchers.
    pub(crate) fn users(&self) -> Vec<UserId> {
        self.lock().watchers.keys().copied().collect()
    }

    /// Leaves a change for the task that reports them, if there is one.
    fn note(&self, mut table: MutexGuard<'_, Table>, user: UserId, departure: Option<Departure>) {
        if let Notes::Changes(changes) = &mut table.notes {
            changes.note(user, departure);
            drop(table);
            self.0.has_changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it holds the lock, so a poisoned table is still sound.
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn entry(&mut self, user: UserId, id: u64) -> Option<&mut Entry> {
        self.watchers.get_mut(&user)?.iter_mut().find(|entry| entry.id == id)
    }

    /// The watchers of a user that count.
    fn counting(&self, user: UserId, now: Instant) -> impl Iterator<Item = u64> {
        let entries = self.watchers.get(&user).into_iter().flatten();
        entries
            .filter(move |entry| entry.counts_for(now).is_some())
            .map(|entry| entry.id)
    }

    fn report(&mut self, user: UserId, now: Instant) -> WatcherReport {
        let departures = match &mut self.notes {
            Notes::Changes(changes) => changes.take(user),
            Notes::Looks(_) => Vec::new(),
        };
        let entries = self.watchers.get_mut(&user).into_iter().flatten();
        let watchers = entries.filter_map(|entry| {
            let left = entry.counts_for(now)?;
            entry.reported = Some(entry.sign.unwrap_or(now));
            Some((entry.id, left))
        });
        WatcherReport {
            user,
            departures,
            watchers: watchers.collect(),
        }
    }
}

impl WatcherReport {
    /// Whether there is nothing to say.
    pub(crate) fn is_empty(&self) -> bool {
        self.departures.is_empty() && self.watchers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: UserId = UserId(1);
    const ANSWER: MessageId = MessageId(7);

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[tokio::test]
    async fn who_has_to_show_signs_of_life_counts_for_25_seconds_after_the_last_one() {
        let (table, begun) = (WatcherTable::default(), Instant::now());
        let id = table.add(USER, Liveness::Shown, begun);
        table.note_sign(USER, id, begun + seconds(20));
        assert!(table.is_watched(USER, begun + seconds(44)));
        assert!(!table.is_watched(USER, begun + seconds(45)));
        table.note_sign(USER, id, begun + seconds(50));
        assert!(table.is_watched(USER, begun + seconds(74)), "it is back");
        table.add(USER, Liveness::Assumed, begun);
        assert!(table.is_watched(USER, begun + seconds(3600)));
    }

    #[tokio::test]
    async fn a_hidden_watcher_does_not_count_until_it_is_shown() {
        let (table, now) = (WatcherTable::default(), Instant::now());
        let id = table.add(USER, Liveness::Assumed, now);
        table.set_visible(USER, id, false);
        assert!(!table.is_watched(USER, now) && !table.look_at_end(USER, ANSWER, now));
        table.set_visible(USER, id, true);
        assert!(table.is_watched(USER, now));
        assert!(!table.is_watched(UserId(2), now), "nobody else's");
        table.remove(USER, id, false, now);
        assert!(!table.is_watched(USER, now) && table.users().is_empty());
    }

    #[tokio::test]
    async fn only_who_watched_at_the_end_and_left_in_order_after_it_counts() {
        let (table, begun) = (WatcherTable::default(), Instant::now());
        let at = |n| begun + seconds(n);
        let before = table.add(USER, Liveness::Assumed, at(0));
        let [lost, hidden, closed] = [(); 3].map(|()| table.add(USER, Liveness::Assumed, at(0)));
        table.remove(USER, before, true, at(1));
        assert!(table.look_at_end(USER, ANSWER, at(2)));
        let after = table.add(USER, Liveness::Assumed, at(3));
        table.remove(USER, after, true, at(4));
        table.remove(USER, lost, false, at(5));
        table.set_visible(USER, hidden, false);
        table.remove(USER, hidden, false, at(6));
        let look = |n| table.last_look(USER, ANSWER, at(n));
        assert!(look(7).is_watched && !look(7).closed_in_order);
        table.remove(USER, closed, true, at(8));
        assert!(!look(9).is_watched && look(9).closed_in_order);
        assert_eq!(table.last_look(USER, MessageId(8), at(9)), LastLook::default());
        assert_eq!(look(400), LastLook::default(), "it is forgotten");
    }

    #[tokio::test]
    async fn who_was_hidden_after_the_end_may_leave_in_order_too() {
        let (table, now) = (WatcherTable::default(), Instant::now());
        let id = table.add(USER, Liveness::Assumed, now);
        table.look_at_end(USER, ANSWER, now);
        table.set_visible(USER, id, false);
        table.remove(USER, id, true, now + seconds(1));
        let look = table.last_look(USER, ANSWER, now + seconds(2));
        assert!(!look.is_watched && look.closed_in_order);
    }

    /// What is reported of the only user with changes.
    fn changes(table: &WatcherTable, now: Instant) -> Option<WatcherReport> {
        let mut reports = table.take_changes(10, now);
        assert!(reports.len() <= 1);
        reports.pop()
    }

    #[tokio::test]
    async fn changes_are_reported_once_and_a_repetition_reports_whoever_counts() {
        let (table, now) = (WatcherTable::reported(), Instant::now());
        let first = table.add(USER, Liveness::Assumed, now);
        let second = table.add(USER, Liveness::Shown, now);
        table.changed().await;
        let report = changes(&table, now + seconds(1)).unwrap();
        assert_eq!(report.watchers, [(first, PRESENCE_TTL), (second, seconds(24))]);
        assert!(report.departures.is_empty() && changes(&table, now).is_none());
        table.set_visible(USER, first, false);
        let report = changes(&table, now).unwrap();
        assert_eq!(report.departures[0].id, first);
        assert_eq!(report.watchers, [(second, SIGN_OF_LIFE_TTL)]);
        let repeated = table.report_all(&table.users(), now + seconds(30)).pop().unwrap();
        assert!(repeated.is_empty(), "one is hidden, and one is silent");
        table.remove(USER, first, true, now + seconds(31));
        table.remove(USER, second, false, now + seconds(31));
        let report = changes(&table, now).unwrap();
        let departed = report.departures.iter().map(|left| (left.id, left.in_order_at));
        let left_at = Some(now + seconds(31));
        assert_eq!(departed.collect::<Vec<_>>(), [(first, left_at), (second, None)]);
        assert!(report.watchers.is_empty());
    }

    #[tokio::test]
    async fn a_sign_of_life_is_reported_when_the_last_one_is_old() {
        let (table, now) = (WatcherTable::reported(), Instant::now());
        let id = table.add(USER, Liveness::Shown, now);
        changes(&table, now).unwrap();
        table.note_sign(USER, id, now + seconds(9));
        assert!(
            changes(&table, now + seconds(9)).is_none(),
            "the next round says it in time"
        );
        table.note_sign(USER, id, now + seconds(10));
        let report = changes(&table, now + seconds(10)).unwrap();
        assert_eq!(report.watchers, [(id, SIGN_OF_LIFE_TTL)]);
    }

    #[tokio::test]
    async fn who_was_never_reported_leaves_without_a_word_and_few_departures_wait() {
        let (table, now) = (WatcherTable::reported(), Instant::now());
        let id = table.add(USER, Liveness::Assumed, now);
        table.remove(USER, id, true, now);
        assert!(changes(&table, now).unwrap().is_empty());
        let ids: Vec<u64> = (0..=MAX_DEPARTURES)
            .map(|_| table.add(USER, Liveness::Assumed, now))
            .collect();
        table.report_all(&[USER], now);
        for id in ids {
            table.remove(USER, id, true, now);
        }
        assert_eq!(changes(&table, now).unwrap().departures.len(), MAX_DEPARTURES);
        let id = table.add(USER, Liveness::Assumed, now);
        table.report_all(&[USER], now);
        table.remove(USER, id, false, now);
        assert_eq!(changes(&table, now).unwrap().departures.len(), 1, "there is room again");
    }
}
