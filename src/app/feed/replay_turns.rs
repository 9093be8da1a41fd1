//! Turns to read an event log from an old cursor: a few of each user at a time, one page a turn.
//!
//! Whoever waits for a turn gets texts and signals meanwhile, and nothing is left out: the pages come later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use cura_domain::UserId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How many connections of one user read pages at the same time, on one server.
const MAX_REPLAYS: usize = 3;
/// How long a turn takes at least if there is more to read. A user's connections together read sixty pages a second.
const TURN: Duration = Duration::from_millis(50);

/// The turns of all users. Cheap to clone; clones are the same.
#[derive(Clone, Default)]
pub(super) struct ReplayTurns(Arc<Mutex<HashMap<UserId, Weak<Semaphore>>>>);

/// A turn to read one page. It ends when it is dropped.
pub(super) struct ReplayTurn {
    began: Instant,
    _permit: Option<OwnedSemaphorePermit>,
}

impl ReplayTurns {
    /// Waits for a turn of `user`, first come, first served.
    pub(super) async fn wait(&self, user: UserId) -> ReplayTurn {
        let turns = self.turns_of(user);
        // Never closed.
        let permit = turns.acquire_owned().await.ok();
        ReplayTurn {
            began: Instant::now(),
            _permit: permit,
        }
    }

    fn turns_of(&self, user: UserId) -> Arc<Semaphore> {
        // Nothing panics while it holds the lock.
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = table.get(&user).and_then(Weak::upgrade) {
            return turns;
        }
        // Users of whom nobody reads or waits.
        table.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::new(Semaphore::new(MAX_REPLAYS));
        table.insert(user, Arc::downgrade(&turns));
        turns
    }
}

impl ReplayTurn {
    /// Ends the turn after a page that was not the last.
    pub(super) async fn end_with_more(self) {
        tokio::time::sleep_until(self.began + TURN).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn a_user_reads_few_pages_at_once_and_keeps_nobody_else_waiting() {
        let turns = ReplayTurns::default();
        let (reading, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let read = async |user| {
            let turn = turns.wait(user).await;
            most.fetch_max(reading.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            reading.fetch_sub(1, Ordering::SeqCst);
            drop(turn);
        };
        join_all((0..30).map(|_| read(UserId(1)))).await;
        assert_eq!(most.load(Ordering::SeqCst), MAX_REPLAYS);
        let held: Vec<ReplayTurn> = join_all((0..MAX_REPLAYS).map(|_| turns.wait(UserId(1)))).await;
        read(UserId(2)).await;
        assert_eq!(turns.0.lock().unwrap().len(), 2);
        drop(held);
        read(UserId(3)).await;
        assert_eq!(turns.0.lock().unwrap().len(), 1);
    }
}
