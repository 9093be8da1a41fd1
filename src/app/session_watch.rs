//! Ends the open streams of a session within two seconds of its end, on every server, however the session ended: logout,
//! revocation, suspension, or erasure of the account. A session whose password was changed goes on, but its streams of before do not.
//!
//! A trigger notifies every server at COMMIT; one connection per server listens. That connection may be silent without an
//! error, so twice a second it is asked, on which depends what is known of other sessions ([`crate::session_cache`]), and once a
//! second one query of each server checks all its sessions with open streams.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cura_domain::{Clock, SessionId, UserId};
use cura_store::{Database, StoreError, sessions};
use futures_util::future::join;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::caller::Caller;
use crate::session_cache::{SessionCache, TRUSTED};

/// The channel of the triggers in migrations 0004 and 0025: `s<session>` or `u<user>` ended, the tokens of `g<session>` changed.
const CHANNEL: &str = "cura_sessions_ended";
/// How often all sessions with open streams are checked, whatever was notified.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How often the connection that listens is asked: often enough that one slow answer makes nobody look up what is known.
const LISTENER_CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// The pause before a lost connection is replaced.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);
/// How long a session is open at most after it has ended, as the contract says.
const CONTRACT: Duration = Duration::from_secs(2);

// What is known may let a stream in until it counts no more; the next check of all sessions finds it, and takes a moment.
const _: () = assert!(TRUSTED.as_millis() + CHECK_INTERVAL.as_millis() < CONTRACT.as_millis());

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// Signed out, here or elsewhere.
    SignedOut,
    /// The account was suspended.
    Suspended,
    /// The access token has expired, or was replaced by a new password.
    Expired,
}

/// Watches the sessions with open streams on this server. Cheap to clone.
#[derive(Clone)]
pub struct SessionWatch {
    database: Database,
    clock: Clock,
    watched: WatchedSessions,
    cache: SessionCache,
}

/// The sessions with open streams, by id.
#[derive(Clone, Default)]
struct WatchedSessions(Arc<Mutex<HashMap<SessionId, Watched>>>);

struct Watched {
    user: UserId,
    state: watch::Sender<WatchedState>,
}

/// What is known of a session.
#[derive(Debug, Clone, Copy, Default)]
struct WatchedState {
    end: Option<SessionEnd>,
    /// Tokens before this generation are dead.
    oldest_generation: i32,
}

/// A stream's view of its session, and of the token it was opened with. Dropping it stops the watching.
pub struct OpenSession {
    session: SessionId,
    state: watch::Receiver<WatchedState>,
    /// Of the session when the stream was opened.
    oldest_generation: i32,
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
        let opened = self.oldest_generation;
        let is_over = |state: &WatchedState| state.end.is_some() || state.oldest_generation > opened;
        let over = self.state.wait_for(is_over).await.map(|state| *state);
        match over {
            // A new password replaces the token, and the session goes on.
            Ok(state) => state.end.unwrap_or(SessionEnd::Expired),
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
            .is_some_and(|watched| watched.state.receiver_count() <= 1)
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
            state: watch::Sender::default(),
        });
        let open = OpenSession {
            session: caller.session,
            state: watched.state.subscribe(),
            oldest_generation: caller.oldest_generation,
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
                    watched.end(SessionEnd::SignedOut);
                }
            }
            (Some("u"), Some(id)) => {
                for watched in table.values().filter(|watched| watched.user == UserId(id)) {
                    watched.end(SessionEnd::Suspended);
                }
            }
            _ => {}
        }
    }

    /// Records that tokens of a session before this generation are dead.
    fn renew(&self, session: SessionId, oldest_generation: i32) {
        if let Some(watched) = self.lock().get(&session) {
            watched.state.send_if_modified(|state| {
                let is_new = oldest_generation > state.oldest_generation;
                state.oldest_generation = state.oldest_generation.max(oldest_generation);
                is_new
            });
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

impl Watched {
    fn end(&self, end: SessionEnd) {
        self.state.send_modify(|state| state.end = Some(end));
    }
}

impl SessionWatch {
    /// Watches no session yet. Sessions that end are noticed, and forgotten by `cache`, while [`Self::run`] runs.
    pub fn new(database: Database, clock: Clock, cache: SessionCache) -> Self {
        Self {
            database,
            clock,
            watched: WatchedSessions::default(),
            cache,
        }
    }

    /// Watches the caller's session for as long as the returned value lives.
    pub async fn watch(&self, caller: Caller) -> OpenSession {
        let left = (caller.until - self.clock.now()).to_std().unwrap_or_default();
        let (open, is_first) = self.watched.open(caller, Instant::now() + left);
        // An end that is notified from here on is seen by what is watched, one that was notified before has been forgotten.
        let known = self.cache.find(caller.session, caller.user);
        let stands = known.is_some_and(|known| known.oldest_generation <= caller.oldest_generation);
        if is_first && !stands {
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
            let ended = self.listen().await;
            self.cache.forget_all();
            let error = ended.err().map(tracing::field::display);
            tracing::debug!(
                error,
                "the connection that listens for ended sessions was lost; reconnecting"
            );
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
    }

    /// Applies what is notified, until the connection is lost.
    async fn listen(&self) -> Result<(), StoreError> {
        let mut listener = self.database.listen(&[CHANNEL]).await?;
        // What happened before the subscription was not heard.
        self.cache.forget_all();
        loop {
            let asked = Instant::now();
            listener.check().await?;
            while let Some(notification) = listener.next_heard() {
                self.apply(&notification);
            }
            self.cache.trust(asked);
            loop {
                match timeout_at(asked + LISTENER_CHECK_INTERVAL, listener.next()).await {
                    Ok(Ok(Some(notification))) => self.apply(&notification),
                    Ok(Ok(None)) => return Ok(()),
                    Ok(Err(error)) => return Err(error),
                    Err(_) => break,
                }
            }
        }
    }

    /// Applies a notification of [`CHANNEL`].
    fn apply(&self, notification: &str) {
        let kind = notification.get(..1);
        let id = notification.get(1..).and_then(|id| id.parse().ok());
        match (kind, id) {
            (Some("s" | "g"), Some(id)) => self.cache.forget(SessionId(id)),
            (Some("u"), Some(id)) => self.cache.forget_user(UserId(id)),
            _ => self.cache.forget_all(),
        }
        self.watched.apply(notification);
    }

    async fn check_all(&self) {
        let watched = self.watched.ids();
        if !watched.is_empty() {
            self.check(&watched).await;
        }
    }

    async fn check(&self, watched: &[i64]) {
        let changed = self
            .database
            .connection(async |connection| sessions::list_changed(connection, watched).await);
        match changed.await {
            Ok(changed) => {
                for (session, oldest_generation) in changed {
                    if oldest_generation.is_none() {
                        self.cache.forget(session);
                    }
                    match oldest_generation {
                        Some(oldest) => self.watched.renew(session, oldest),
                        None => self.watched.apply(&format!("s{session}")),
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "open sessions could not be checked"),
        }
    }
}
