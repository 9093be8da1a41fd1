//! Which channels have got or lost readers since the subscriber looked last.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::keys::Channel;

/// More changes than that are as much work as looking at all channels.
const MAX_CHANGES: usize = 10_000;

/// The changed channels.
#[derive(Default)]
pub(crate) struct ChannelChanges {
    changed: Mutex<Changed>,
    has_changed: Notify,
}

/// What has changed.
#[derive(Default)]
pub(super) struct Changed {
    pub(super) channels: HashSet<Channel>,
    /// Whether others have changed, too.
    pub(super) any: bool,
}

impl ChannelChanges {
    /// Notes that `channel` has got or lost a reader.
    pub(crate) fn note(&self, channel: Channel) {
        let mut changed = self.lock();
        if changed.channels.len() < MAX_CHANGES {
            changed.channels.insert(channel);
        } else {
            changed.any = true;
        }
        drop(changed);
        self.has_changed.notify_one();
    }

    /// What has changed since this was asked last.
    pub(super) fn take(&self) -> Changed {
        std::mem::take(&mut *self.lock())
    }

    /// Waits until something has changed. Cancel-safe.
    pub(super) async fn changed(&self) {
        self.has_changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Changed> {
        // Nothing panics while it holds the lock.
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
