//! The users with connections in this process, and the channels on which each user's connections receive signals.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cura_domain::UserId;
use tokio::sync::broadcast;

use crate::signals::Signal;

/// How many signals a connection may be behind before they are dropped and it reads the event log instead.
const BACKLOG: usize = 8;
/// How many typing signals a connection may be behind before the oldest are dropped, and nothing else is done.
const TYPING_BACKLOG: usize = 8;

/// The connected users. Cheap to clone; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct UserTable(Arc<Mutex<HashMap<UserId, UserChannels>>>);

/// The channels of one user. Typing has its own: however much is typed, it displaces no signal that an event was logged.
struct UserChannels {
    log: broadcast::Sender<Signal>,
    typing: broadcast::Sender<Signal>,
}

impl UserChannels {
    fn new() -> Self {
        Self {
            log: broadcast::Sender::new(BACKLOG),
            typing: broadcast::Sender::new(TYPING_BACKLOG),
        }
    }

    fn is_watched(&self) -> bool {
        self.log.receiver_count() > 0
    }
}

/// What one connection receives.
pub(crate) struct UserReceivers {
    pub(crate) log: broadcast::Receiver<Signal>,
    pub(crate) typing: broadcast::Receiver<Signal>,
}

impl UserTable {
    pub(crate) fn watch(&self, user: UserId) -> UserReceivers {
        let mut table = self.lock();
        let channels = table.entry(user).or_insert_with(UserChannels::new);
        UserReceivers {
            log: channels.log.subscribe(),
            typing: channels.typing.subscribe(),
        }
    }

    /// Sends a signal to the connections of `user` in this process.
    pub(crate) fn publish(&self, user: UserId, signal: Signal) {
        if let Some(channels) = self.lock().get(&user) {
            let channel = match signal {
                Signal::Typing { .. } => &channels.typing,
                Signal::Logged(_) | Signal::LastEvent(_) | Signal::ReadLog => &channels.log,
            };
            // Fails only without receivers.
            let _ = channel.send(signal);
        }
    }

    /// The connected users. Removes those that have disconnected.
    pub(crate) fn watched(&self) -> Vec<UserId> {
        let mut table = self.lock();
        table.retain(|_, channels| channels.is_watched());
        table.keys().copied().collect()
    }

    /// Whether a user is connected. Removes one that is not.
    pub(crate) fn keep_if_watched(&self, user: UserId) -> bool {
        let mut table = self.lock();
        let is_watched = table.get(&user).is_some_and(UserChannels::is_watched);
        if !is_watched {
            table.remove(&user);
        }
        is_watched
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, UserChannels>> {
        // Nothing panics while it holds the lock, so a poisoned table is still sound.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use cura_domain::ConversationId;

    use super::*;
    use crate::signals::UserWatch;
    use crate::watch_guard::Subscription;

    #[tokio::test]
    async fn typing_displaces_no_signal_of_the_log_and_leaves_the_newest_state() {
        let (table, user) = (UserTable::default(), UserId(1));
        let mut watch = UserWatch::new(table.watch(user), Subscription::default());
        let typing = |n: i64| Signal::Typing {
            conversation: ConversationId(n),
            is_typing: true,
            origin: 0,
        };
        table.publish(user, Signal::Logged(1));
        (0..100).for_each(|n| table.publish(user, typing(n)));
        assert_eq!(watch.next().await, Signal::Logged(1));
        assert_eq!(
            watch.next().await,
            typing(92),
            "the oldest are lost, and no reason to read the log"
        );
        table.publish(user, Signal::Logged(2));
        assert_eq!(watch.next().await, Signal::Logged(2), "the log comes first");
    }
}
