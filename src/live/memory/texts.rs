//! The texts of running answers in this process. Readers of a text share one copy.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cura_domain::MessageId;
use cura_domain::answer::Fence;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::LiveConfig;
use crate::error::AppendError;
use crate::text::{MirrorUpdate, TextState};

/// How often expired texts are removed.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The texts, by answer. Cheap to clone; clones are the same.
#[derive(Clone)]
pub(crate) struct TextTable {
    config: LiveConfig,
    table: Arc<Mutex<Table>>,
}

struct Table {
    entries: HashMap<MessageId, Entry>,
    swept_at: Instant,
}

struct Entry {
    state: watch::Sender<TextState>,
    touched_at: Instant,
}

impl TextTable {
    pub(crate) fn new(config: LiveConfig) -> Self {
        let table = Table {
            entries: HashMap::new(),
            swept_at: Instant::now(),
        };
        Self {
            config,
            table: Arc::new(Mutex::new(table)),
        }
    }

    /// Follows an answer's text, whether an attempt has begun or not.
    pub(crate) fn watch(&self, id: MessageId) -> watch::Receiver<TextState> {
        self.with_entry(id, watch::Sender::subscribe)
    }

    pub(crate) fn read(&self, id: MessageId) -> Option<TextState> {
        let table = self.lock();
        table.entries.get(&id).map(|entry| entry.state.borrow().clone())
    }

    /// Applies `change`, which gives whether it changed anything; readers wake up only then.
    pub(crate) fn write(
        &self,
        id: MessageId,
        change: impl FnOnce(&mut TextState) -> Result<bool, AppendError>,
    ) -> Result<(), AppendError> {
        self.with_entry(id, |state| {
            let mut result = Ok(());
            state.send_if_modified(|state| {
                change(state).unwrap_or_else(|error| {
                    result = Err(error);
                    false
                })
            });
            result
        })
    }

    /// Ends a text, in this process.
    pub(crate) fn end(&self, id: MessageId, fence: Fence) {
        self.with_entry(id, |state| state.send_if_modified(|state| state.end(fence)));
    }

    /// Removes a text; an attempt may write it again. Its readers keep what they have read and get [`Progress::Deleted`](crate::Progress::Deleted).
    pub(crate) fn delete(&self, id: MessageId) {
        self.lock().entries.remove(&id);
    }

    /// Replaces a text by its tombstone, which is kept as long as an unfinished text. Its readers keep what they have read
    /// and get [`Progress::Deleted`](crate::Progress::Deleted).
    pub(crate) fn forget(&self, id: MessageId) {
        let mut table = self.lock();
        self.sweep(&mut table);
        let tombstone = Entry {
            state: watch::Sender::new(TextState::tombstone()),
            touched_at: Instant::now(),
        };
        table.entries.insert(id, tombstone);
    }

    /// Adds what was appended elsewhere, if the text is watched here.
    pub(crate) fn mirror_append(&self, id: MessageId, fence: Fence, offset: u64, text: &str) -> MirrorUpdate {
        let mut update = MirrorUpdate::Known;
        self.mirror(id, |state| {
            update = state.mirror_append(fence, offset, text);
            update == MirrorUpdate::Applied
        });
        update
    }

    /// Takes over the whole text as it is elsewhere, if it is watched here.
    pub(crate) fn mirror_whole(&self, id: MessageId, whole: TextState) {
        self.mirror(id, |state| state.mirror_whole(whole));
    }

    /// The answers with readers in this process. Removes the others.
    pub(crate) fn watched(&self) -> Vec<MessageId> {
        let mut table = self.lock();
        table.entries.retain(|_, entry| entry.state.receiver_count() > 0);
        table.entries.keys().copied().collect()
    }

    /// Whether an answer has readers in this process. Removes it otherwise.
    pub(crate) fn keep_if_watched(&self, id: MessageId) -> bool {
        let mut table = self.lock();
        let is_watched = table
            .entries
            .get(&id)
            .is_some_and(|entry| entry.state.receiver_count() > 0);
        if !is_watched {
            table.entries.remove(&id);
        }
        is_watched
    }

    /// Whether nothing is known of an answer's text.
    pub(crate) fn is_unknown(&self, id: MessageId) -> bool {
        let table = self.lock();
        let known = table.entries.get(&id).map(|entry| entry.state.borrow().fence);
        known.is_none_or(|fence| fence == Fence(0))
    }

    fn with_entry<T>(&self, id: MessageId, work: impl FnOnce(&watch::Sender<TextState>) -> T) -> T {
        let mut table = self.lock();
        self.sweep(&mut table);
        let entry = table.entries.entry(id).or_insert_with(|| Entry {
            state: watch::Sender::new(TextState::default()),
            touched_at: Instant::now(),
        });
        entry.touched_at = Instant::now();
        work(&entry.state)
    }

    fn mirror(&self, id: MessageId, change: impl FnOnce(&mut TextState) -> bool) {
        if let Some(entry) = self.lock().entries.get(&id) {
            entry.state.send_if_modified(change);
        }
    }

    fn sweep(&self, table: &mut Table) {
        if table.swept_at.elapsed() < SWEEP_INTERVAL {
            return;
        }
        table.swept_at = Instant::now();
        table.entries.retain(|_, entry| {
            let state = entry.state.borrow();
            let ttl = if state.is_tombstone() {
                self.config.idle_ttl
            } else if state.ended.is_some() {
                self.config.ended_ttl
            } else if state.fence == Fence(0) {
                Duration::ZERO
            } else {
                self.config.idle_ttl
            };
            entry.state.receiver_count() > 0 || entry.touched_at.elapsed() < ttl
        });
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it holds the lock, so a poisoned table is still sound.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
