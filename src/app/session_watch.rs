//! Ends the open streams of a session within two seconds of its end, on every server, however the session ended: logout,
//! revocation, suspension, or erasure of the account.
//!
//! A trigger notifies every server at COMMIT; one connection per server listens. That connection may be silent without an
//! error, so every second one query of each server checks all its sessions with open streams.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cura_domain::{Clock, SessionId, UserId};
use cura_store::{Database, StoreError, sessions};
use futures_util::future::join;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::caller::Caller;

/// The channel of the triggers in migration 0004: `s<session>` or `u<user>`.
const CHANNEL: &str = "cura_sessions_ended";
/// How often all sessions with open streams are checked, whatever was notified.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How often the connection that listens is checked.
const LISTENER_CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// The pause before a lost connection is replaced.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// Signed out, here or elsewhere.
    SignedOut,
    /// The account was suspended.
    Suspended,
    /// The access token has expired.
    Expired,
}

/// Watches the sessions with open streams on this server. Cheap to clone.
#[derive(Clone)]
pub struct SessionWatch {
    database: Database,
    clock: Clock,
    watched: WatchedSessions,
}

/// The sessions with open streams, by id.
#[derive(Clone, Default)]
struct WatchedSessions(Arc<Mutex<HashMap<SessionId, Watched>>>);

struct Watched {
    user: UserId,
    end: watch::Sender<Option<SessionEnd>>,
}

/// A stream's view of its session, and of the token it was opened with. Dropping it stops the watching.
pub struct OpenSession {
    session: SessionId,
    end: watch::Receiver<Option<SessionEnd>>,
    expires_at: Instant,
    sessions: WatchedSessions,
}

impl OpenSession {
    /// Waits until the session is over, or the token has expired.
    pub async fn ended(&mut self) -> SessionEnd {
        let expires_at = self.expires_at;
        tokio::select! {
            end = self.revoked() => end,
            () = tokio::time::sleep_until(expires_at) => SessionEnd::Expired,
        }
    }

    /// Waits until the session is over, also when the token has expired before: for a download, which a client cannot continue
    /// with a fresh one.
    pub async fn revoked(&mut self) -> SessionEnd {
        let end = self.end.wait_for(Option::is_some).await.map(|end| *end);
        match end {
            Ok(end) => end.unwrap_or(SessionEnd::SignedOut),
            // The sender stays in the table as long as there is a receiver.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        let mut table = self.sessions.lock();
        // This receiver still counts.
        if table
            .get(&self.session)
            .is_some_and(|watched| watched.end.receiver_count() <= 1)
        {
            table.remove(&self.session);
        }
    }
}

impl WatchedSessions {
    /// A view of the caller's session, and whether it is the first one.
    fn open(&self, caller: Caller, expires_at: Instant) -> (OpenSession, bool) {
        let mut table = self.lock();
        let first = !table.contains_key(&caller.session);
        let watched = table.entry(caller.session).or_insert_with(|| Watched {
            user: caller.user,
            end: watch::Sender::new(None),
        });
        let open = OpenSession {
            session: caller.session,
            end: watched.end.subscribe(),
            expires_at,
            sessions: self.clone(),
        };
        (open, first)
    }

    /// Applies a notification of [`CHANNEL`].
    fn apply(&self, notification: &str) {
        let table = self.lock();
        match (
            notification.get(..1),
            notification.get(1..).and_then(|id| id.parse().ok()),
        ) {
            (Some("s"), Some(id)) => {
                if let Some(watched) = table.get(&SessionId(id)) {
                    watched.end.send_replace(Some(SessionEnd::SignedOut));
                }
            }
            (Some("u"), Some(id)) => {
                for watched in table.values().filter(|watched| watched.user == UserId(id)) {
                    watched.end.send_replace(Some(SessionEnd::Suspended));
                }
            }
            _ => {}
        }
    }

    fn ids(&self) -> Vec<i64> {
        self.lock().keys().map(|session| session.0).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Watched>> {
        // Nothing panics while holding it; a poisoned lock still holds a sound table.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionWatch {
    /// Watches no session yet. Sessions that end are noticed while [`Self::run`] runs.
    pub fn new(database: Database, clock: Clock) -> Self {
        Self {
            database,
            clock,
            watched: WatchedSessions::default(),
        }
    }

    /// Watches the caller's session for as long as the returned value lives.
    pub async fn watch(&self, caller: Caller) -> OpenSession {
        let left = (caller.until - self.clock.now()).to_std().unwrap_or_default();
        let (open, is_first) = self.watched.open(caller, Instant::now() + left);
        if is_first {
            // The session may have ended after it was authenticated and before it was watched. If this check fails, the
            // next one finds it.
            self.check(&[caller.session.0]).await;
        }
        open
    }

    /// Notices ended sessions until dropped. Runs once per server.
    pub async fn run(self) {
        join(self.keep_listening(), self.keep_checking()).await;
    }

    async fn keep_checking(&self) {
        let mut checks = interval(CHECK_INTERVAL);
        // After a slow check, not many at once.
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            checks.tick().await;
            self.check_all().await;
        }
    }

    async fn keep_listening(&self) {
        loop {
            if let Err(error) = self.listen().await {
                tracing::debug!(%error, "the connection that listens for ended sessions was lost; reconnecting");
            }
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
    }

    async fn listen(&self) -> Result<(), StoreError> {
        let mut listener = self.database.listen(CHANNEL).await?;
        loop {
            listener.check().await?;
            let check_at = Instant::now() + LISTENER_CHECK_INTERVAL;
            loop {
                match timeout_at(check_at, listener.next()).await {
                    Ok(Ok(Some(notification))) => self.watched.apply(&notification),
                    Ok(Ok(None)) | Err(_) => break,
                    Ok(Err(error)) => return Err(error),
                }
            }
        }
    }

    async fn check_all(&self) {
        let watched = self.watched.ids();
        if !watched.is_empty() {
            self.check(&watched).await;
        }
    }

    async fn check(&self, watched: &[i64]) {
        let ended = self
            .database
            .connection(async |connection| sessions::list_ended(connection, watched).await);
        match ended.await {
            Ok(ended) => {
                for session in ended {
                    self.watched.apply(&format!("s{session}"));
                }
            }
            Err(error) => tracing::debug!(%error, "open sessions could not be checked"),
        }
    }
}
