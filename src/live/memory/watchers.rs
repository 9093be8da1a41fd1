//! The watchers of this process, and what a task that reports them elsewhere has not reported yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cura_domain::{MessageId, UserId};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::looks::Looks;
use crate::presence::{LastLook, Liveness, PRESENCE_INTERVAL, PRESENCE_TTL, SIGN_OF_LIFE_TTL};

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
    /// Whether it may be a proxy alone.
    is_proxied: bool,
    is_visible: bool,
    /// The sign of life that was reported last, or when it was reported; `None` if nobody has heard of it.
    reported: Option<Instant>,
}

/// A watcher that does not count any more.
pub(crate) struct Departure {
    pub(crate) id: u64,
    /// Whether it may have been a proxy alone.
    pub(crate) is_proxied: bool,
    /// When it left in order. `None` if it was lost, or is hidden.
    pub(crate) in_order_at: Option<Instant>,
}

/// A watcher that counts.
pub(crate) struct Watching {
    pub(crate) id: u64,
    /// Whether it may be a proxy alone.
    pub(crate) is_proxied: bool,
    /// For how long it counts.
    pub(crate) left: Duration,
}

/// What there is to report of one user.
pub(crate) struct WatcherReport {
    pub(crate) user: UserId,
    /// Comes before the watchers: one may have been hidden and shown again.
    pub(crate) departures: Vec<Departure>,
    /// The watchers that count.
    pub(crate) watchers: Vec<Watching>,
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
            is_proxied: liveness == Liveness::Proxied,
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
        let hidden = Departure {
            id,
            is_proxied: entry.is_proxied,
            in_order_at: None,
        };
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
        let known = removed.filter(|entry| entry.reported.is_some());
        match (&mut table.notes, known) {
            (Notes::Looks(looks), _) if is_in_order => looks.note_closed(user, id, now),
            (Notes::Changes(_), Some(entry)) => {
                let departure = Departure {
                    id,
                    is_proxied: entry.is_proxied,
                    in_order_at: is_in_order.then_some(now),
                };
                self.note(table, user, Some(departure));
            }
            // Nobody has heard of it.
            (Notes::Looks(_), _) | (Notes::Changes(_), None) => {}
        }
    }

    /// Whether a watcher of this process counts.
    pub(crate) fn is_watched(&self, user: UserId, now: Instant) -> bool {
        self.lock().counting(user, now).next().is_some()
    }

    /// As [`Self::is_watched`], and remembers who watches, for [`Self::last_look`].
    pub(crate) fn look_at_end(&self, user: UserId, answer: MessageId, now: Instant) -> bool {
        let mut table = self.lock();
        let watching: Vec<u64> = table.counting(user, now).map(|entry| entry.id).collect();
        let is_watched = !watching.is_empty();
        if let Notes::Looks(looks) = &mut table.notes {
            looks.remember(answer, watching, now);
        }
        is_watched
    }

    /// Whether somebody watches who is known to live, and whether one of those who watched at the end has left in order since.
    pub(crate) fn last_look(&self, user: UserId, answer: MessageId, now: Instant) -> LastLook {
        let table = self.lock();
        let Notes::Looks(looks) = &table.notes else {
            return LastLook::default();
        };
        let mut watching = table.counting(user, now);
        LastLook {
            is_watched: watching.any(|entry| !(entry.is_proxied && looks.has_watched(answer, entry.id))),
            closed_in_order: looks.closed_in_order(user, answer, now),
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
    fn counting(&self, user: UserId, now: Instant) -> impl Iterator<Item = &Entry> {
        let entries = self.watchers.get(&user).into_iter().flatten();
        entries.filter(move |entry| entry.counts_for(now).is_some())
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
            Some(Watching {
                id: entry.id,
                is_proxied: entry.is_proxied,
                left,
            })
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
mod tests;
