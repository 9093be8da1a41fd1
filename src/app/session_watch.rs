//! Whoever signs out, is signed out, suspended or erased sees their open streams end within two seconds, on every server.
//!
//! Postgres announces ended sessions at COMMIT, by whatever way they ended; one connection per server listens. After it
//! was away, and now and then, all sessions with open streams are looked at.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cura_domain::{SessionId, UserId};
use cura_store::{StoreError, sessions};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::{App, Caller};

/// The channel of the triggers in migration 0004: `s<session>` or `u<user>`.
const CHANNEL: &str = "cura_sessions_ended";
/// How often everything is looked at although nothing was announced: a connection may be dead without saying so.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The pause before a lost connection is tried again.
const PAUSE: Duration = Duration::from_millis(500);

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

/// The sessions with open streams on this server.
#[derive(Clone, Default)]
pub struct SessionWatch(Arc<Mutex<HashMap<SessionId, Watched>>>);

struct Watched {
    user: UserId,
    end: watch::Sender<Option<SessionEnd>>,
}

/// A stream's view of its session, and of the token it was opened with. Dropping it ends the watching.
pub struct OpenSession {
    session: SessionId,
    end: watch::Receiver<Option<SessionEnd>>,
    expires_at: Instant,
    watch: SessionWatch,
}

impl OpenSession {
    /// Waits until the session is over, or the token has expired.
    pub async fn ended(&mut self) -> SessionEnd {
        let end = tokio::select! {
            end = self.end.wait_for(Option::is_some) => end.map(|end| *end),
            () = tokio::time::sleep_until(self.expires_at) => return SessionEnd::Expired,
        };
        match end {
            Ok(end) => end.unwrap_or(SessionEnd::SignedOut),
            // The table never forgets a session somebody watches.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        let mut table = self.watch.lock();
        // Ours is still counted.
        if table
            .get(&self.session)
            .is_some_and(|watched| watched.end.receiver_count() <= 1)
        {
            table.remove(&self.session);
        }
    }
}

impl SessionWatch {
    /// A view of the caller's session, and whether nobody was watching it yet.
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
            watch: self.clone(),
        };
        (open, first)
    }

    fn apply(&self, announced: &str) {
        let table = self.lock();
        match (announced.get(..1), announced.get(1..).and_then(|id| id.parse().ok())) {
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

impl App {
    /// Watches the caller's session for as long as the returned value lives.
    pub async fn open_session_of(&self, caller: Caller) -> OpenSession {
        let left = (caller.until - self.0.clock.now()).to_std().unwrap_or_default();
        let (open, first) = self.0.session_watch.open(caller, Instant::now() + left);
        if first {
            // It may have ended between its check and this watching; if Postgres does not say now, it does soon.
            self.look_at(&[caller.session.0]).await;
        }
        open
    }

    /// Listens for ended sessions; runs until dropped. One per server.
    pub async fn keep_watching_sessions(self) {
        loop {
            if let Err(error) = self.listen_for_ended_sessions().await {
                tracing::debug!(%error, "listening for ended sessions was interrupted");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn listen_for_ended_sessions(&self) -> Result<(), StoreError> {
        let mut listener = self.0.database.listen(CHANNEL).await?;
        loop {
            listener.check().await?;
            // What was announced before we listened, or while the connection was away, is found by looking.
            self.look_at_all_sessions().await;
            let look_at = Instant::now() + LOOK_EVERY;
            loop {
                match timeout_at(look_at, listener.next()).await {
                    Ok(Ok(Some(announced))) => self.0.session_watch.apply(&announced),
                    Ok(Ok(None)) | Err(_) => break,
                    Ok(Err(error)) => return Err(error),
                }
            }
        }
    }

    async fn look_at_all_sessions(&self) {
        let watched = self.0.session_watch.ids();
        if !watched.is_empty() {
            self.look_at(&watched).await;
        }
    }

    async fn look_at(&self, watched: &[i64]) {
        let ended = self.read(async |connection| sessions::ended_among(connection, watched).await);
        match ended.await {
            Ok(ended) => {
                for session in ended {
                    self.0.session_watch.apply(&format!("s{session}"));
                }
            }
            Err(error) => tracing::debug!(%error, "looking for ended sessions failed"),
        }
    }
}
