//! Watchers: connections whose user looks at what happens to them, so that nobody is told twice.
//!
//! Each server repeats every `PRESENCE_INTERVAL` which watchers it has, and reports changes at once. The watchers of
//! a server that died count until `PRESENCE_TTL` has passed, those of a client that shows no sign of life until
//! `SIGN_OF_LIFE_TTL` has.
//!
//! A connection that ends without a sign from its client may have been dead for a while: whoever held it may have seen
//! nothing. So [`Watcher::leave_in_order`] is for ends that a client brought about, and everything else counts as a
//! loss.

use std::time::Duration;

use cura_domain::UserId;
use tokio::time::Instant;

use crate::memory::WatcherTable;
use crate::presence::Liveness;

/// A sign of life so soon after another one is not noted.
const SIGN_INTERVAL: Duration = Duration::from_secs(1);

/// A connection that looks at what happens to a user. Dropping it means that the connection was lost.
pub struct Watcher {
    table: WatcherTable,
    user: UserId,
    id: u64,
    /// The last sign of life that was noted.
    sign: Instant,
    is_in_order: bool,
}

impl Watcher {
    pub(crate) fn new(table: WatcherTable, user: UserId, liveness: Liveness) -> Self {
        let now = Instant::now();
        Self {
            id: table.add(user, liveness, now),
            table,
            user,
            sign: now,
            is_in_order: false,
        }
    }

    /// Says whether the user sees what the connection shows: a hidden one does not count.
    pub fn set_visible(&mut self, is_visible: bool) {
        self.table.set_visible(self.user, self.id, is_visible);
    }

    /// Notes a sign of life. Cheap enough for every frame of a socket.
    pub fn alive(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.sign) >= SIGN_INTERVAL {
            self.sign = now;
            self.table.note_sign(self.user, self.id, now);
        }
    }

    /// Ends it because the client has shown that it took what it was sent, and wants no more.
    pub fn leave_in_order(mut self) {
        self.is_in_order = true;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.table.remove(self.user, self.id, self.is_in_order, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use cura_domain::MessageId;

    use super::*;
    use crate::{LastLook, Live, LiveConfig};

    #[tokio::test]
    async fn a_watcher_counts_until_it_is_dropped_and_only_an_end_in_order_is_one() {
        let live = Live::in_process(LiveConfig::default());
        let (user, answer) = (UserId(1), MessageId(7));
        assert!(!live.is_watched(user).await);
        let lost = live.watcher(user, Liveness::Assumed);
        let mut closed = live.watcher(user, Liveness::Shown);
        closed.alive();
        assert!(live.look_at_end(user, answer).await);
        drop(lost);
        let look = live.last_look(user, answer).await;
        assert!(look.is_watched && !look.closed_in_order);
        closed.set_visible(false);
        assert!(!live.is_watched(user).await);
        closed.leave_in_order();
        let look = live.last_look(user, answer).await;
        assert!(!look.is_watched && look.closed_in_order);
    }

    #[tokio::test]
    async fn who_may_be_a_proxy_alone_does_not_keep_a_push_back_for_ever() {
        let live = Live::in_process(LiveConfig::default());
        let (user, answer) = (UserId(1), MessageId(7));
        let _of_end = live.watcher(user, Liveness::Proxied);
        assert!(live.is_watched(user).await && live.look_at_end(user, answer).await);
        assert!(!live.last_look(user, answer).await.is_watched);
        let _later = live.watcher(user, Liveness::Proxied);
        assert!(
            live.last_look(user, answer).await.is_watched,
            "who has come since lives"
        );
    }

    #[tokio::test]
    async fn nobody_watches_without_redis() {
        let live = Live::redis("redis://127.0.0.1:1", LiveConfig::default()).unwrap();
        let (user, answer) = (UserId(1), MessageId(7));
        let _watcher = live.watcher(user, Liveness::Assumed);
        assert!(!live.is_watched(user).await && !live.look_at_end(user, answer).await);
        assert_eq!(live.last_look(user, answer).await, LastLook::default());
    }
}
