//! Sessions: staying signed in, and no longer.
//!
//! A session has exactly one refresh token that works. A token that was replaced and comes back means that two parties
//! hold it, so the session ends, except within [`GRACE`] of its replacement: then the answer got lost, or two tabs
//! refreshed at once, and everybody is given the same successor again. There is never a second branch.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use cura_domain::SessionId;
use cura_store::sessions::{LockedSession, TokenHash};
use cura_store::{PgConnection, StoreError, sessions, users};

pub use cura_domain::session::Session;

use crate::accounts::{AuthenticateError, MAX_SESSIONS, SignInError, SignedIn};
use crate::tokens::{RefreshToken, Ticket};
use crate::{App, Caller, stamp};

/// How long a replaced refresh token is forgiven, for an answer that never arrived.
const GRACE: TimeDelta = TimeDelta::seconds(10);
/// How long a ticket waits to be used, as the contract says.
const TICKET_LIFETIME: Duration = Duration::from_secs(60);

/// A ticket: stands for its session once, where no header can be sent.
pub struct IssuedTicket {
    /// What the client gets.
    pub secret: String,
    /// How long it waits to be used.
    pub expires_in: Duration,
}

/// What a presented refresh token is to its session.
enum Presented {
    /// The one that works.
    Current,
    /// The one before, a moment ago.
    Forgiven,
    /// One that was replaced long ago: somebody else has the successor.
    Stolen,
}

impl Presented {
    fn judge(session: &LockedSession, presented: &TokenHash, now: DateTime<Utc>) -> Self {
        let recently = session.rotated_at.is_some_and(|rotated_at| now - rotated_at <= GRACE);
        if session.current_token == presented {
            Self::Current
        } else if session.previous_token.as_deref() == Some(presented) && recently {
            Self::Forgiven
        } else {
            Self::Stolen
        }
    }
}

impl App {
    /// A new pair for a refresh token; the old one dies.
    ///
    /// # Errors
    /// [`SignInError::InvalidToken`]; when the token was a dead one, its session has ended too.
    pub async fn refresh(&self, token: &str) -> Result<SignedIn, SignInError> {
        // A stolen one ends its session, which is to be kept, and is an error all the same.
        let exchanged = self.write(async |connection| self.exchange(connection, token).await);
        exchanged.await?.ok_or(SignInError::InvalidToken)
    }

    async fn exchange(&self, connection: &mut PgConnection, token: &str) -> Result<Option<SignedIn>, SignInError> {
        let presented = RefreshToken::hash(token);
        let now = stamp(&self.0.clock);
        let session = sessions::lock_by_token(connection, &presented)
            .await?
            .ok_or(SignInError::InvalidToken)?;
        if session.ended || session.expires_at <= now {
            return Err(SignInError::InvalidToken);
        }
        if session.suspended {
            return Err(SignInError::Suspended);
        }
        let next = match Presented::judge(&session, &presented, now) {
            Presented::Current => {
                let next = self.0.tokens.refresh_token(self.0.entropy.bytes())?;
                let expires_at = now + self.0.tokens.lifetimes().refresh;
                sessions::rotate(connection, session.id, &next.kept, now, expires_at).await?;
                next
            }
            Presented::Forgiven => self.current_token(&session)?,
            Presented::Stolen => {
                sessions::end(connection, session.id, now).await?;
                tracing::warn!(user_id = %session.user_id, session_id = %session.id,
                    "a dead refresh token came back: the session ends");
                return Ok(None);
            }
        };
        let user = users::find(connection, session.user_id)
            .await?
            .ok_or(SignInError::InvalidToken)?;
        self.signed_in(user, session.id, next).map(Some)
    }

    /// The token of a session that works, made again. Not when the signing key has changed meanwhile.
    fn current_token(&self, session: &LockedSession) -> Result<RefreshToken, SignInError> {
        let seed = session.current_seed.as_deref().and_then(|seed| seed.try_into().ok());
        let token = self.0.tokens.refresh_token(seed.ok_or(SignInError::InvalidToken)?)?;
        if session.current_token == token.kept.hash {
            Ok(token)
        } else {
            Err(SignInError::InvalidToken)
        }
    }

    /// Ends the session of a refresh token. An unknown token has no session, which is what was asked for.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn logout(&self, token: &str) -> Result<(), StoreError> {
        let now = stamp(&self.0.clock);
        self.write(async |connection| {
            if let Some(session) = sessions::lock_by_token(connection, &RefreshToken::hash(token)).await? {
                sessions::end(connection, session.id, now).await?;
            }
            Ok(())
        })
        .await
    }

    /// Ends every session of the caller, this one too.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn logout_all(&self, caller: Caller) -> Result<(), StoreError> {
        let now = stamp(&self.0.clock);
        self.read(async |connection| sessions::end_all(connection, caller.user, None, now).await)
            .await
    }

    /// Where the caller is signed in, the last used first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sessions(&self, caller: Caller) -> Result<Vec<Session>, StoreError> {
        let now = stamp(&self.0.clock);
        self.read(async |connection| sessions::list(connection, caller.user, now, MAX_SESSIONS).await)
            .await
    }

    /// Ends one session of the caller; `false` when there is no such session.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke_session(&self, caller: Caller, session: SessionId) -> Result<bool, StoreError> {
        let now = stamp(&self.0.clock);
        self.read(async |connection| sessions::end_owned(connection, caller.user, session, now).await)
            .await
    }

    /// A ticket for the caller's session.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn issue_ticket(&self, caller: Caller) -> Result<IssuedTicket, StoreError> {
        let ticket = Ticket::generate(&self.0.entropy);
        let expires_at = stamp(&self.0.clock) + TICKET_LIFETIME;
        self.read(async |connection| {
            sessions::insert_ticket(connection, &ticket.hash, caller.user, caller.session, expires_at).await
        })
        .await?;
        Ok(IssuedTicket {
            secret: ticket.secret,
            expires_in: TICKET_LIFETIME,
        })
    }

    /// Who a ticket stands for; it is used up.
    ///
    /// # Errors
    /// [`AuthenticateError`] says whether signing in would help.
    pub async fn use_ticket(&self, ticket: &str) -> Result<Caller, AuthenticateError> {
        let now = stamp(&self.0.clock);
        self.read(async |connection| {
            let taken = sessions::take_ticket(connection, &Ticket::hash(ticket), now).await?;
            let (user, session) = taken.ok_or(AuthenticateError::NotSignedIn)?;
            // As if an access token had been made with the ticket.
            let until = now + self.0.tokens.lifetimes().access;
            self.admit(connection, Caller { user, session, until }).await
        })
        .await
    }
}
