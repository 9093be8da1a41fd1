//! The users with connections in this process, and the channel on which each user's connections receive signals.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cura_domain::UserId;
use tokio::sync::broadcast;

use crate::signals::Signal;

/// How many signals a connection may be behind before they are dropped and it reads the event log instead.
const BACKLOG: usize = 8;

/// The connected users. Cheap to clone; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct UserTable(Arc<Mutex<HashMap<UserId, broadcast::Sender<Signal>>>>);

impl UserTable {
    pub(crate) fn watch(&self, user: UserId) -> broadcast::Receiver<Signal> {
        let mut table = self.lock();
        table
            .entry(user)
            .or_insert_with(|| broadcast::Sender::new(BACKLOG))
            .subscribe()
    }

    /// Sends a signal to the connections of `user` in this process.
    pub(crate) fn publish(&self, user: UserId, signal: Signal) {
        if let Some(sender) = self.lock().get(&user) {
            // Fails only without receivers.
            let _ = sender.send(signal);
        }
    }

    /// The connected users. Removes those that have disconnected.
    pub(crate) fn watched(&self) -> Vec<UserId> {
        let mut table = self.lock();
        table.retain(|_, sender| sender.receiver_count() > 0);
        table.keys().copied().collect()
    }

    pub(crate) fn is_watched(&self, user: UserId) -> bool {
        self.lock().get(&user).is_some_and(|sender| sender.receiver_count() > 0)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, broadcast::Sender<Signal>>> {
        // Nothing panics while it holds the lock, so a poisoned table is still sound.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
