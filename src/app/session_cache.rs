//! Sessions that were looked up and still stand, so that a request does not ask Postgres for what it said a moment ago.
//!
//! What changes a session for the worse is notified at COMMIT and forgotten here ([`crate::session_watch`]). A connection that
//! listens may be silent without an error, so what is remembered counts only for a moment after the connection was seen to work:
//! whatever is lost, a session that ended is refused within two seconds. The server that ends a session forgets it itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cura_domain::{SessionId, UserId};
use cura_store::sessions::SessionState;
use tokio::time::Instant;

/// How long what is remembered counts after the connection that listens was asked and answered.
pub(crate) const TRUSTED: Duration = Duration::from_millis(900);
/// How many sessions are remembered: those that were used last, and as many that were used before.
const MAX_SESSIONS: usize = 10_000;

/// The sessions that are known to stand. Cheap to clone.
#[derive(Clone, Default)]
pub struct SessionCache(Arc<Mutex<Remembered>>);

#[derive(Default)]
struct Remembered {
    trusted_until: Option<Instant>,
    /// Counts what was forgotten: what was looked up before may be outdated.
    changes: u64,
    newer: HashMap<SessionId, Known>,
    older: HashMap<SessionId, Known>,
}

#[derive(Clone, Copy)]
struct Known {
    user: UserId,
    state: SessionState,
}

/// The moment before a session is looked up.
#[derive(Debug, Clone, Copy)]
pub struct LookUp(u64);

impl SessionCache {
    /// What is known of the session, if that can be trusted.
    pub fn find(&self, session: SessionId, user: UserId) -> Option<SessionState> {
        let mut remembered = self.lock();
        if remembered.trusted_until.is_none_or(|until| until < Instant::now()) {
            return None;
        }
        let known = match remembered.newer.get(&session) {
            Some(known) => *known,
            None => {
                let known = remembered.older.remove(&session)?;
                remembered.insert(session, known);
                known
            }
        };
        (known.user == user).then_some(known.state)
    }

    /// To be called before a session is read.
    pub fn begin(&self) -> LookUp {
        LookUp(self.lock().changes)
    }

    /// Remembers what was read since `begun`, unless something was forgotten meanwhile.
    pub fn remember(&self, begun: LookUp, session: SessionId, user: UserId, state: SessionState) {
        let mut remembered = self.lock();
        if remembered.changes == begun.0 {
            remembered.insert(session, Known { user, state });
        }
    }

    /// A session has ended, or its tokens changed.
    pub fn forget(&self, session: SessionId) {
        let mut remembered = self.lock();
        remembered.changes += 1;
        remembered.newer.remove(&session);
        remembered.older.remove(&session);
    }

    /// Something has happened to all sessions of a user.
    pub fn forget_user(&self, user: UserId) {
        let mut remembered = self.lock();
        remembered.changes += 1;
        remembered.newer.retain(|_, known| known.user != user);
        remembered.older.retain(|_, known| known.user != user);
    }

    /// Changes may have been missed.
    pub(crate) fn forget_all(&self) {
        let mut remembered = self.lock();
        *remembered = Remembered {
            changes: remembered.changes + 1,
            ..Remembered::default()
        };
    }

    /// Nothing that was notified before `asked` is missing.
    pub(crate) fn trust(&self, asked: Instant) {
        self.lock().trusted_until = Some(asked + TRUSTED);
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remembered {
    fn insert(&mut self, session: SessionId, known: Known) {
        if self.newer.len() >= MAX_SESSIONS {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(session, known);
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    const USER: UserId = UserId(7);

    fn state() -> SessionState {
        SessionState {
            suspended: false,
            last_seen: None,
            expires_at: DateTime::UNIX_EPOCH,
            generation: 0,
            oldest_generation: 0,
            generation_used: false,
        }
    }

    fn knows(cache: &SessionCache, session: i64) -> bool {
        cache.find(SessionId(session), USER).is_some()
    }

    #[tokio::test]
    async fn what_is_remembered_counts_while_the_listener_is_known_to_work() {
        let cache = SessionCache::default();
        cache.remember(cache.begin(), SessionId(1), USER, state());
        assert!(!knows(&cache, 1), "nobody listens");
        cache.trust(Instant::now());
        assert!(knows(&cache, 1));
        assert!(cache.find(SessionId(1), UserId(8)).is_none(), "another user's");
        let long_ago = Instant::now().checked_sub(TRUSTED).unwrap();
        cache.trust(long_ago);
        assert!(!knows(&cache, 1), "the listener is silent");
        cache.trust(Instant::now());
        assert!(knows(&cache, 1), "nothing was missed");
    }

    #[tokio::test]
    async fn what_is_forgotten_does_not_come_back_from_a_look_before() {
        let cache = SessionCache::default();
        cache.trust(Instant::now());
        for forget in [
            SessionCache::forget_all as fn(&SessionCache),
            |cache| cache.forget(SessionId(1)),
            |cache| cache.forget_user(USER),
        ] {
            cache.remember(cache.begin(), SessionId(1), USER, state());
            let begun = cache.begin();
            forget(&cache);
            cache.remember(begun, SessionId(1), USER, state());
            cache.trust(Instant::now());
            assert!(!knows(&cache, 1));
        }
    }

    #[tokio::test]
    async fn no_more_are_remembered_than_there_is_room_for() {
        let cache = SessionCache::default();
        cache.trust(Instant::now());
        for session in 0..3 * MAX_SESSIONS as i64 {
            cache.remember(cache.begin(), SessionId(session), USER, state());
            assert!(knows(&cache, 0), "the one that is used stays");
        }
        let remembered = cache.lock();
        assert!(remembered.newer.len() + remembered.older.len() <= 2 * MAX_SESSIONS);
    }
}
