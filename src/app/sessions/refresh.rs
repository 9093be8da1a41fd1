//! Exchanging a refresh token for a new pair of tokens, and logging out with it.
//!
//! A session's tokens come in generations. The newest one leads to the next. The one before leads to the newest again, until
//! a token of the newest was presented, and within [`GRACE`] in any case: a lost response, or two tabs that refreshed at once,
//! get the same successor, so there is never a second branch. An older one that is presented means that two parties hold
//! tokens of the session, so the session ends. One from before the password was changed is only refused.

use chrono::{DateTime, TimeDelta, Utc};
use cura_domain::SessionId;
use cura_store::sessions::{LockedSession, Rotation, SessionSeed};
use cura_store::{PgConnection, StoreError, sessions, tickets, users};

use super::{Sessions, SignInError, SignedIn};
use crate::auth_tokens::{PresentedToken, RefreshToken};
use crate::caller::Caller;

/// How long a replaced refresh token is accepted although its successor was used: two tabs may have refreshed at once.
const GRACE: TimeDelta = TimeDelta::seconds(10);

/// What a presented refresh token is to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The newest one.
    Newest,
    /// The one before, whose successor may have been lost.
    Forgiven,
    /// An older one: another party may have its successor.
    Dead,
    /// One from before the password was changed. No evidence of theft: a tab may not have noticed.
    Void,
}

impl Standing {
    fn of(presented: i32, session: &LockedSession, now: DateTime<Utc>) -> Self {
        if presented < session.oldest_generation {
            Self::Void
        } else if presented >= session.generation {
            // A later one than the row knows was given out before the database was restored from a backup.
            Self::Newest
        } else if presented == session.generation - 1 && (is_recent(session, now) || !session.generation_used) {
            Self::Forgiven
        } else {
            Self::Dead
        }
    }
}

/// What an exchange did. Both outcomes are committed.
enum Exchange {
    SignedIn(Box<SignedIn>),
    /// The token was reused, so its session was ended.
    Revoked(SessionId),
}

impl Sessions {
    /// What a client presents as refresh token; `None` when it is certainly not ours. Does not ask the database.
    pub fn read_refresh_token(&self, text: &str) -> Option<PresentedToken> {
        self.tokens.read_refresh(text)
    }

    /// Exchanges a refresh token for a new pair of tokens.
    ///
    /// # Errors
    /// [`SignInError::InvalidToken`]; when the token was dead, its session has ended too.
    pub async fn refresh(&self, token: &PresentedToken) -> Result<SignedIn, SignInError> {
        let exchanged = self
            .database
            .transaction(async |connection| self.exchange(connection, token).await);
        match exchanged.await? {
            Exchange::SignedIn(signed_in) => Ok(*signed_in),
            Exchange::Revoked(session) => {
                self.cache.forget(session);
                Err(SignInError::InvalidToken)
            }
        }
    }

    async fn exchange(&self, connection: &mut PgConnection, token: &PresentedToken) -> Result<Exchange, SignInError> {
        let now = self.clock.now_micros();
        let session = lock(connection, token).await?.ok_or(SignInError::InvalidToken)?;
        let expires_at = self.expires_at(session.created_at, now);
        if session.ended || session.expires_at <= now || expires_at <= now {
            return Err(SignInError::InvalidToken);
        }
        if session.suspended {
            return Err(SignInError::Suspended);
        }
        let presented = generation_of(token, &session, now);
        let (next, ends) = match presented.map(|presented| (presented, Standing::of(presented, &session, now))) {
            Some((presented, Standing::Newest)) => {
                let next = self.rotate(connection, &session, presented, session.oldest_generation);
                (next.await?, expires_at)
            }
            Some((_, Standing::Forgiven)) => (newest_token(&session)?, session.expires_at),
            Some((_, Standing::Void)) => return Err(SignInError::InvalidToken),
            Some((_, Standing::Dead)) | None => {
                sessions::end(connection, session.id, now).await?;
                tracing::warn!(user_id = %session.user_id, session_id = %session.id,
                    "refresh token reuse detected; session revoked");
                return Ok(Exchange::Revoked(session.id));
            }
        };
        let user = users::find(connection, session.user_id)
            .await?
            .ok_or(SignInError::InvalidToken)?;
        let signed_in = self.signed_in(user, &next, ends)?;
        Ok(Exchange::SignedIn(Box::new(signed_in)))
    }

    /// Gives the caller's session a new pair of tokens, in the transaction of `connection`. Every other token of it is dead.
    pub(crate) async fn renew(&self, connection: &mut PgConnection, caller: Caller) -> Result<SignedIn, SignInError> {
        let session = sessions::lock_owned(connection, caller.session, caller.user)
            .await?
            .filter(|session| !session.ended)
            .ok_or(SignInError::InvalidToken)?;
        let (last, now) = (session.generation, self.clock.now_micros());
        let next = self.rotate(connection, &session, last, last.saturating_add(1)).await?;
        tickets::delete_of_session(connection, session.id).await?;
        let user = users::find(connection, session.user_id)
            .await?
            .ok_or(SignInError::InvalidToken)?;
        self.signed_in(user, &next, self.expires_at(session.created_at, now))
    }

    /// Gives a locked session the generation after `last`. Tokens before `oldest` are dead from now on.
    pub(super) async fn rotate(
        &self,
        connection: &mut PgConnection,
        session: &LockedSession,
        last: i32,
        oldest: i32,
    ) -> Result<RefreshToken, SignInError> {
        let now = self.clock.now_micros();
        let next = RefreshToken {
            session: session.id,
            generation: last.checked_add(1).ok_or(SignInError::InvalidToken)?,
            seed: seed_of(session).unwrap_or_else(|| self.entropy.bytes()),
        };
        let rotation = Rotation {
            generation: next.generation,
            seed: next.seed,
            oldest_generation: oldest,
            expires_at: self.expires_at(session.created_at, now),
        };
        sessions::rotate(connection, session.id, &rotation, now).await?;
        Ok(next)
    }

    /// Ends the session of a refresh token. An unknown token is no error: it has no session to end.
    pub async fn log_out(&self, token: &PresentedToken) -> Result<(), StoreError> {
        let now = self.clock.now_micros();
        let ended = self.database.transaction(async |connection| {
            let session = lock(connection, token).await?.map(|session| session.id);
            if let Some(session) = session {
                sessions::end(connection, session, now).await?;
            }
            Ok::<_, StoreError>(session)
        });
        if let Some(session) = ended.await? {
            self.cache.forget(session);
        }
        Ok(())
    }
}

async fn lock(connection: &mut PgConnection, token: &PresentedToken) -> Result<Option<LockedSession>, StoreError> {
    match token {
        PresentedToken::Proven(token) => sessions::lock(connection, token.session, &token.seed).await,
        PresentedToken::Legacy(hash) => sessions::lock_by_token(connection, hash).await,
    }
}

/// The generation of a presented token; `None` when it is dead, whatever its session is now.
fn generation_of(token: &PresentedToken, session: &LockedSession, now: DateTime<Utc>) -> Option<i32> {
    let hash = match token {
        PresentedToken::Proven(token) => return Some(token.generation),
        PresentedToken::Legacy(hash) => Some(hash.as_slice()),
    };
    let is_last = session.current_token.as_deref() == hash;
    let is_previous = session.previous_token.as_deref() == hash;
    // The last token of the release before is of generation 0. While it is current, the one before may be forgiven, too: both
    // lead to generation 1.
    let is_forgiven = is_previous && (session.current_token.is_none() || is_recent(session, now));
    (is_last || is_forgiven).then_some(0)
}

fn is_recent(session: &LockedSession, now: DateTime<Utc>) -> bool {
    session.rotated_at.is_some_and(|rotated_at| now - rotated_at <= GRACE)
}

/// The newest token of a session, given again.
fn newest_token(session: &LockedSession) -> Result<RefreshToken, SignInError> {
    Ok(RefreshToken {
        session: session.id,
        generation: session.generation,
        seed: seed_of(session).ok_or(SignInError::InvalidToken)?,
    })
}

fn seed_of(session: &LockedSession) -> Option<SessionSeed> {
    session.seed.as_deref()?.try_into().ok()
}
