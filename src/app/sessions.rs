//! Sessions: opening, authenticating, listing and ending them, and the tickets and stream tokens that stand for them.
//!
//! Tokens come in generations, of which the session's row knows the newest ([`refresh`]). A request is authenticated against
//! that row each time, so a session that ended is refused at once.

mod refresh;
mod stream_tokens;
mod tickets;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use cura_domain::account::DeviceName;
use cura_domain::user::User;
use cura_domain::{Clock, Entropy, SessionId};
use cura_store::{Database, PgConnection, StoreError, sessions};
use thiserror::Error;

pub use cura_domain::session::Session;
pub use stream_tokens::IssuedStreamToken;
pub use tickets::IssuedTicket;

use crate::auth_tokens::{AccessToken, RefreshToken, SigningFailed, Tokens};
pub use crate::auth_tokens::{PresentedToken, StreamToken, Ticket};
pub use crate::caller::Caller;
use crate::passwords::PasswordError;
use crate::sign_in_guard::TooManyFailures;

/// The most sessions of a user. Beyond it, the least recently used one ends.
const MAX_SESSIONS: i64 = 100;
/// The precision of `last_seen`: updating it on every request would write a row for each read.
const LAST_SEEN_PRECISION: TimeDelta = TimeDelta::minutes(1);

/// A session that was opened or refreshed, as the client gets it.
pub struct SignedIn {
    /// The user.
    pub user: User,
    /// The access token.
    pub access_token: String,
    /// The refresh token.
    pub refresh_token: String,
    /// How long the access token is valid.
    pub expires_in: TimeDelta,
}

/// Why signing in, or refreshing, failed.
#[derive(Debug, Error)]
pub enum SignInError {
    /// The address has an account already.
    #[error("the address is taken")]
    EmailTaken,
    /// Address and password do not match. Which of them is wrong is not disclosed.
    #[error("address and password do not match")]
    WrongCredentials,
    /// The refresh token is unknown, dead or expired.
    #[error("the refresh token is not valid")]
    InvalidToken,
    /// The account is suspended.
    #[error("the account is suspended")]
    Suspended,
    /// Too many passwords of this account were wrong.
    #[error(transparent)]
    TooManyFailures(#[from] TooManyFailures),
    /// Passwords cannot be checked now.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The access token could not be signed.
    #[error(transparent)]
    Signing(#[from] SigningFailed),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a request is not authenticated.
#[derive(Debug, Error)]
pub enum AuthenticateError {
    /// There is no valid token, or its session has ended.
    #[error("not signed in")]
    NotSignedIn,
    /// The account is suspended.
    #[error("the account is suspended")]
    Suspended,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a caller has proved its session with.
#[derive(Debug, Clone, Copy)]
enum Proof {
    AccessToken {
        generation: i32,
    },
    /// Those of before a new password are deleted.
    Ticket,
    StreamToken {
        /// Of the session when it was given out.
        oldest_generation: i32,
    },
}

impl Proof {
    /// Whether it is good for a session whose tokens of before this generation are dead.
    fn is_of(self, oldest: i32) -> bool {
        match self {
            Self::AccessToken { generation } => generation >= oldest,
            Self::StreamToken { oldest_generation } => oldest_generation >= oldest,
            Self::Ticket => true,
        }
    }
}

/// The use cases of sessions. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    database: Database,
    clock: Clock,
    entropy: Entropy,
    tokens: Arc<Tokens>,
}

impl Sessions {
    /// Puts the parts together.
    pub fn new(database: Database, clock: Clock, entropy: Entropy, tokens: Tokens) -> Self {
        Self {
            database,
            clock,
            entropy,
            tokens: Arc::new(tokens),
        }
    }

    /// Authenticates an access token.
    ///
    /// # Errors
    /// [`AuthenticateError`] says whether signing in would help.
    pub async fn authenticate(&self, access_token: &str) -> Result<Caller, AuthenticateError> {
        self.authorize(&self.verify(access_token)?).await
    }

    /// Reads an access token by its signature and times alone: its session may have ended.
    ///
    /// # Errors
    /// [`AuthenticateError::NotSignedIn`] if it is not ours, or has expired.
    pub fn verify(&self, access_token: &str) -> Result<AccessToken, AuthenticateError> {
        self.tokens
            .read_access(access_token, self.clock.now())
            .ok_or(AuthenticateError::NotSignedIn)
    }

    /// Checks that the session of a verified token still stands, and that its user is not suspended.
    ///
    /// # Errors
    /// [`AuthenticateError`] says whether signing in would help.
    pub async fn authorize(&self, token: &AccessToken) -> Result<Caller, AuthenticateError> {
        self.database
            .connection(async |connection| {
                let proof = Proof::AccessToken {
                    generation: token.generation,
                };
                self.authorize_session(connection, token.caller, proof).await
            })
            .await
    }

    /// Ends every session of the caller, including the current one.
    pub async fn log_out_everywhere(&self, caller: Caller) -> Result<(), StoreError> {
        let now = self.clock.now_micros();
        self.database
            .transaction(async |connection| sessions::end_all(connection, caller.user, None, now).await)
            .await
    }

    /// The caller's active sessions, most recently used first.
    pub async fn list(&self, caller: Caller) -> Result<Vec<Session>, StoreError> {
        let now = self.clock.now_micros();
        self.database
            .connection(async |connection| sessions::list(connection, caller.user, now, MAX_SESSIONS).await)
            .await
    }

    /// Ends one session of the caller; `false` when the caller has no such active session.
    pub async fn revoke(&self, caller: Caller, session: SessionId) -> Result<bool, StoreError> {
        let now = self.clock.now_micros();
        self.database
            .transaction(async |connection| sessions::end_owned(connection, caller.user, session, now).await)
            .await
    }

    /// Refuses a caller whose session has ended, whose account is suspended, or whose token is dead; records that the token was
    /// presented and the user was seen.
    async fn authorize_session(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
        proof: Proof,
    ) -> Result<Caller, AuthenticateError> {
        let now = self.clock.now_micros();
        let state = sessions::find_state(connection, caller.session, caller.user)
            .await?
            .filter(|state| state.expires_at > now)
            .filter(|state| proof.is_of(state.oldest_generation))
            .ok_or(AuthenticateError::NotSignedIn)?;
        if state.suspended {
            return Err(AuthenticateError::Suspended);
        }
        // Nothing came before the first generation, so its use changes nothing.
        let first_use = match proof {
            Proof::AccessToken { generation } => Some(generation),
            Proof::Ticket | Proof::StreamToken { .. } => None,
        };
        let first_use = first_use.filter(|generation| *generation == state.generation && *generation > 0);
        let first_use = first_use.filter(|_| !state.generation_used);
        let stale = now - LAST_SEEN_PRECISION;
        if first_use.is_some() || state.last_seen.is_none_or(|seen| seen <= stale) {
            sessions::record_use(connection, caller.session, caller.user, first_use, now, stale).await?;
        }
        Ok(Caller {
            until: caller.until.min(state.expires_at),
            oldest_generation: state.oldest_generation,
            ..caller
        })
    }

    /// Opens a session in the transaction of `connection`, and ends the user's oldest ones beyond the limit.
    pub(crate) async fn open(
        &self,
        connection: &mut PgConnection,
        user: User,
        device: Option<&DeviceName>,
    ) -> Result<SignedIn, SignInError> {
        let now = self.clock.now_micros();
        let seed = self.entropy.bytes();
        let expires_at = self.expires_at(now, now);
        let device = device.map(DeviceName::as_str);
        let session = sessions::insert(connection, user.id, device, &seed, now, expires_at).await?;
        sessions::end_oldest_beyond(connection, user.id, MAX_SESSIONS, now).await?;
        let token = RefreshToken {
            session,
            generation: 0,
            seed,
        };
        self.signed_in(user, &token, expires_at)
    }

    /// When a session expires that is used now: it is never extended beyond the lifetime of sessions.
    fn expires_at(&self, created_at: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        let lifetimes = self.tokens.lifetimes();
        (now + lifetimes.refresh).min(created_at + lifetimes.session)
    }

    fn signed_in(
        &self,
        user: User,
        refresh: &RefreshToken,
        session_ends: DateTime<Utc>,
    ) -> Result<SignedIn, SignInError> {
        let now = self.clock.now();
        let access = AccessToken {
            caller: Caller {
                user: user.id,
                session: refresh.session,
                until: (now + self.tokens.lifetimes().access).min(session_ends),
                oldest_generation: refresh.generation,
            },
            generation: refresh.generation,
        };
        Ok(SignedIn {
            access_token: self.tokens.issue_access(&access, now, &self.entropy)?,
            user,
            refresh_token: self.tokens.refresh_text(refresh),
            expires_in: access.caller.until - now,
        })
    }
}
