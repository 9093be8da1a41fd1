//! Exchanging a refresh token for a new one, and logging out with it.
//!
//! A session has exactly one valid refresh token. A replaced token that is presented again means that two parties hold it,
//! so the session ends. The exception is [`GRACE`]: within it, a lost response or two tabs that refreshed at once are more
//! likely, and each gets the same successor again, so there is never a second branch.

use chrono::{DateTime, TimeDelta, Utc};
use cura_store::sessions::{LockedSession, TokenHash};
use cura_store::{PgConnection, StoreError, sessions, users};

use super::{Sessions, SignInError, SignedIn};
use crate::auth_tokens::IssuedRefreshToken;

/// How long a replaced refresh token is still accepted, for a response that never arrived.
const GRACE: TimeDelta = TimeDelta::seconds(10);

/// What a presented refresh token is to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RefreshToken {
    /// The valid one.
    Current,
    /// The one that was replaced a moment ago.
    WithinGrace,
    /// One that was replaced before: another party may have its successor.
    Reused,
}

impl RefreshToken {
    fn classify(session: &LockedSession, presented: &TokenHash, now: DateTime<Utc>) -> Self {
        let recently = session.rotated_at.is_some_and(|rotated_at| now - rotated_at <= GRACE);
        if session.current_token == presented {
            Self::Current
        } else if session.previous_token.as_deref() == Some(presented) && recently {
            Self::WithinGrace
        } else {
            Self::Reused
        }
    }
}

/// What an exchange did. Both outcomes are committed.
enum Exchange {
    SignedIn(Box<SignedIn>),
    /// The token was reused, so its session was ended.
    Revoked,
}

impl Sessions {
    /// Exchanges a refresh token for a new pair of tokens; the old one becomes invalid.
    ///
    /// # Errors
    /// [`SignInError::InvalidToken`]; when the token was replaced before, its session has ended too.
    pub async fn refresh(&self, token: &str) -> Result<SignedIn, SignInError> {
        let exchanged = self
            .database
            .transaction(async |connection| self.exchange(connection, token).await);
        match exchanged.await? {
            Exchange::SignedIn(signed_in) => Ok(*signed_in),
            Exchange::Revoked => Err(SignInError::InvalidToken),
        }
    }

    async fn exchange(&self, connection: &mut PgConnection, token: &str) -> Result<Exchange, SignInError> {
        let presented = IssuedRefreshToken::hash(token);
        let now = self.clock.now_micros();
        let session = sessions::lock_by_token(connection, &presented)
            .await?
            .ok_or(SignInError::InvalidToken)?;
        if session.ended || session.expires_at <= now {
            return Err(SignInError::InvalidToken);
        }
        if session.suspended {
            return Err(SignInError::Suspended);
        }
        let next = match RefreshToken::classify(&session, &presented, now) {
            RefreshToken::Current => {
                let next = self.tokens.refresh_token(self.entropy.bytes())?;
                let expires_at = now + self.tokens.lifetimes().refresh;
                sessions::rotate(connection, session.id, &next.stored, now, expires_at).await?;
                next
            }
            RefreshToken::WithinGrace => self.current_token(&session)?,
            RefreshToken::Reused => {
                sessions::end(connection, session.id, now).await?;
                tracing::warn!(user_id = %session.user_id, session_id = %session.id,
                    "refresh token reuse detected; session revoked");
                return Ok(Exchange::Revoked);
            }
        };
        let user = users::find(connection, session.user_id)
            .await?
            .ok_or(SignInError::InvalidToken)?;
        let signed_in = self.signed_in(user, session.id, next)?;
        Ok(Exchange::SignedIn(Box::new(signed_in)))
    }

    /// Derives the session's valid token again. Fails when the signing key has changed meanwhile.
    fn current_token(&self, session: &LockedSession) -> Result<IssuedRefreshToken, SignInError> {
        let seed = session.current_seed.as_deref().and_then(|seed| seed.try_into().ok());
        let token = self.tokens.refresh_token(seed.ok_or(SignInError::InvalidToken)?)?;
        if session.current_token == token.stored.hash {
            Ok(token)
        } else {
            Err(SignInError::InvalidToken)
        }
    }

    /// Ends the session of a refresh token. An unknown token is no error: it has no session to end.
    pub async fn log_out(&self, token: &str) -> Result<(), StoreError> {
        let now = self.clock.now_micros();
        self.database
            .transaction(async |connection| {
                if let Some(session) = sessions::lock_by_token(connection, &IssuedRefreshToken::hash(token)).await? {
                    sessions::end(connection, session.id, now).await?;
                }
                Ok(())
            })
            .await
    }
}
