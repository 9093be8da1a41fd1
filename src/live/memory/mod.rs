//! `live` within one process: all there is without Redis; with Redis, a mirror of what is watched here.

mod failures;
mod looks;
mod rate_limits;
mod texts;
mod users;
mod watchers;

use cura_domain::answer::{AttemptOffsets, Fence, Position};
use cura_domain::{MessageId, UserId};

use crate::config::LiveConfig;
use crate::error::AppendError;
use crate::follower::Follower;
use crate::signals::{Signal, UserWatch};
use crate::text::TextState;
use crate::watch_guard::Subscription;
pub(crate) use failures::MemoryFailures;
pub(crate) use rate_limits::MemoryRateLimit;
pub(crate) use texts::TextTable;
pub(crate) use users::{UserReceivers, UserTable};
pub(crate) use watchers::{WatcherReport, WatcherTable};

/// Texts, signals and watchers that only this process sees.
#[derive(Clone)]
pub(crate) struct MemoryLive {
    texts: TextTable,
    users: UserTable,
    watchers: WatcherTable,
}

impl MemoryLive {
    pub(crate) fn new(config: LiveConfig) -> Self {
        Self {
            texts: TextTable::new(config),
            users: UserTable::default(),
            watchers: WatcherTable::default(),
        }
    }

    pub(crate) fn replace(
        &self,
        id: MessageId,
        fence: Fence,
        offsets: &AttemptOffsets,
        text: &str,
    ) -> Result<(), AppendError> {
        self.texts.write(id, |state| state.replace(fence, offsets, text))
    }

    pub(crate) fn append(&self, id: MessageId, fence: Fence, offset: u64, text: &str) -> Result<(), AppendError> {
        self.texts.write(id, |state| state.append(fence, offset, text))
    }

    pub(crate) fn end(&self, id: MessageId, fence: Fence) {
        self.texts.end(id, fence);
    }

    pub(crate) fn delete(&self, id: MessageId) {
        self.texts.delete(id);
    }

    pub(crate) fn forget(&self, id: MessageId) {
        self.texts.forget(id);
    }

    pub(crate) fn read(&self, id: MessageId) -> Option<TextState> {
        self.texts.read(id)
    }

    pub(crate) fn follow(&self, id: MessageId, from: Position) -> Follower {
        Follower::new(self.texts.watch(id), from, Subscription::default())
    }

    pub(crate) fn watch_user(&self, user: UserId) -> UserWatch {
        UserWatch::new(self.users.watch(user), Subscription::default())
    }

    pub(crate) fn publish_to_user(&self, user: UserId, signal: Signal) {
        self.users.publish(user, signal);
    }

    pub(crate) fn watchers(&self) -> &WatcherTable {
        &self.watchers
    }

    pub(crate) fn users(&self) -> &UserTable {
        &self.users
    }
}
