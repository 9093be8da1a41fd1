//! Publishes in which conversations users type: each conversation's state at most once a second, and the last one always.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cura_domain::{ConversationId, UserId};
use cura_live::{Live, Signal};
use tokio_util::task::TaskTracker;

/// The shortest time between two states of one user in one conversation, on one server.
const TYPING_INTERVAL: Duration = Duration::from_secs(1);

/// By user and conversation, the state that waits for the second to end.
type Waiting = HashMap<(UserId, ConversationId), Option<Signal>>;

/// The conversations in which users of this server type. Cheap to clone; clones are the same.
#[derive(Clone)]
pub(super) struct TypingSignals {
    live: Live,
    /// What was published less than a second ago, and the state that waits for that second to end. No more than there are
    /// sockets: each is in one conversation.
    recent: Arc<Mutex<Waiting>>,
    tasks: TaskTracker,
}

impl TypingSignals {
    /// Publishes through `live`.
    pub(super) fn new(live: Live) -> Self {
        Self {
            live,
            recent: Arc::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// Publishes a state now, or instead of the one that waits.
    pub(super) fn publish(&self, user: UserId, conversation: ConversationId, state: Signal) {
        match self.lock().entry((user, conversation)) {
            Entry::Occupied(mut recent) => {
                recent.insert(Some(state));
            }
            Entry::Vacant(idle) => {
                idle.insert(None);
                self.tasks.spawn(self.clone().run(user, conversation, state));
            }
        }
    }

    /// Publishes `state`, and what is said later, until nothing is said for a second.
    async fn run(self, user: UserId, conversation: ConversationId, mut state: Signal) {
        loop {
            if let Err(error) = self.live.publish_to_user(user, state).await {
                tracing::debug!(%error, "a typing signal could not be published");
            }
            tokio::time::sleep(TYPING_INTERVAL).await;
            match self.take_waiting(user, conversation) {
                Some(waiting) => state = waiting,
                None => return,
            }
        }
    }

    /// The state that waits. If none does, the conversation is idle again.
    fn take_waiting(&self, user: UserId, conversation: ConversationId) -> Option<Signal> {
        let mut recent = self.lock();
        let waiting = recent.get_mut(&(user, conversation)).and_then(Option::take);
        if waiting.is_none() {
            recent.remove(&(user, conversation));
        }
        waiting
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it holds the lock.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
