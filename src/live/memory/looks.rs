//! Who watched at the end of an answer, and who has left in order since.

use std::collections::HashMap;

use cura_domain::{MessageId, UserId};
use tokio::time::Instant;

use crate::presence::LOOK_TTL;

/// What is too old is removed when there are twice as many answers as the last time, but not before this.
const FIRST_SWEEP: usize = 1024;

/// What is remembered of the last minutes.
pub(super) struct Looks {
    ended: HashMap<MessageId, Ended>,
    closed: HashMap<UserId, Vec<Closed>>,
    sweep_at: usize,
}

struct Ended {
    looked_at: Instant,
    /// Who watched, and when that was seen first.
    watchers: Vec<(u64, Instant)>,
}

struct Closed {
    id: u64,
    at: Instant,
}

impl Default for Looks {
    fn default() -> Self {
        Self {
            ended: HashMap::new(),
            closed: HashMap::new(),
            sweep_at: FIRST_SWEEP,
        }
    }
}

impl Looks {
    /// A watcher of `user` has left in order.
    pub(super) fn note_closed(&mut self, user: UserId, id: u64, now: Instant) {
        let closed = self.closed.entry(user).or_default();
        closed.retain(|closed| is_recent(closed.at, now));
        closed.push(Closed { id, at: now });
        self.sweep(now);
    }

    /// These watched at the end of `answer`.
    pub(super) fn remember(&mut self, answer: MessageId, watching: Vec<u64>, now: Instant) {
        if watching.is_empty() {
            return;
        }
        let ended = self.ended.entry(answer).or_insert_with(|| Ended {
            looked_at: now,
            watchers: Vec::new(),
        });
        ended.looked_at = now;
        for id in watching {
            if !ended.watchers.iter().any(|(known, _)| *known == id) {
                ended.watchers.push((id, now));
            }
        }
        self.sweep(now);
    }

    /// Whether one of those who watched at the end of `answer` has left in order since.
    pub(super) fn closed_in_order(&self, user: UserId, answer: MessageId, now: Instant) -> bool {
        let ended = self.ended.get(&answer);
        let (Some(ended), Some(closed)) = (ended, self.closed.get(&user)) else {
            return false;
        };
        is_recent(ended.looked_at, now)
            && ended.watchers.iter().any(|(watcher, seen_at)| {
                let mut of_watcher = closed.iter().filter(|closed| closed.id == *watcher);
                of_watcher.any(|closed| closed.at >= *seen_at && is_recent(closed.at, now))
            })
    }

    /// Whether `watcher` watched at the end of `answer`.
    pub(super) fn has_watched(&self, answer: MessageId, watcher: u64) -> bool {
        let ended = self.ended.get(&answer);
        ended.is_some_and(|ended| ended.watchers.iter().any(|(known, _)| *known == watcher))
    }

    fn sweep(&mut self, now: Instant) {
        if self.ended.len().max(self.closed.len()) < self.sweep_at {
            return;
        }
        self.ended.retain(|_, ended| is_recent(ended.looked_at, now));
        self.closed.retain(|_, closed| {
            closed.retain(|closed| is_recent(closed.at, now));
            !closed.is_empty()
        });
        self.sweep_at = FIRST_SWEEP.max(2 * self.ended.len().max(self.closed.len()));
    }
}

fn is_recent(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < LOOK_TTL
}
