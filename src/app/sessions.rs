//! Sessions: opening, authenticating, listing and ending them, and the one-time tickets that stand for them.
//!
//! A session has exactly one valid refresh token ([`refresh`]). A request is authenticated against the session's row each
//! time, so a session that ended is refused at once.

mod refresh;

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use cura_domain::account::Name;
use cura_domain::user::User;
use cura_domain::{Clock, Entropy, SessionId, UserId};
use cura_store::{Database, PgConnection, StoreError, sessions, users};
use thiserror::Error;

pub use cura_domain::session::Session;

use crate::auth_tokens::{IssuedRefreshToken, SigningFailed, Ticket, Tokens};
pub use crate::caller::Caller;
use crate::passwords::PasswordError;

/// The most sessions of a user. Beyond it, the least recently used one ends.
const MAX_SESSIONS: i64 = 100;
/// The precision of `last_seen`: updating it on every request would write a row for each read.
const LAST_SEEN_PRECISION: TimeDelta = TimeDelta::minutes(1);
/// How long a ticket can be redeemed, as the contract says.
const TICKET_LIFETIME: Duration = Duration::from_secs(60);

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

/// A ticket: authenticates its session once, where a client cannot send headers.
pub struct IssuedTicket {
    /// What the client gets.
    pub secret: String,
    /// How long it can be redeemed.
    pub expires_in: Duration,
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
    /// The refresh token is unknown, replaced or expired.
    #[error("the refresh token is not valid")]
    InvalidToken,
    /// The account is suspended.
    #[error("the account is suspended")]
    Suspended,
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
        let caller = self
            .tokens
            .read_access(access_token, self.clock.now())
            .ok_or(AuthenticateError::NotSignedIn)?;
        self.database
            .connection(async |connection| self.authorize_session(connection, caller).await)
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

    /// Issues a ticket for the caller's session.
    pub async fn issue_ticket(&self, caller: Caller) -> Result<IssuedTicket, StoreError> {
        let ticket = Ticket::generate(&self.entropy);
        let expires_at = self.clock.now_micros() + TICKET_LIFETIME;
        self.database
            .transaction(async |connection| {
                sessions::insert_ticket(connection, &ticket.hash, caller.user, caller.session, expires_at).await
            })
            .await?;
        Ok(IssuedTicket {
            secret: ticket.secret,
            expires_in: TICKET_LIFETIME,
        })
    }

    /// Authenticates a ticket and uses it up, also when its session has ended.
    ///
    /// # Errors
    /// [`AuthenticateError`] says whether signing in would help.
    pub async fn redeem_ticket(&self, ticket: &str) -> Result<Caller, AuthenticateError> {
        let now = self.clock.now_micros();
        // Statements of their own instead of a transaction: a ticket whose session has ended is used up all the same.
        self.database
            .connection(async |connection| {
                let redeemed = sessions::redeem_ticket(connection, &Ticket::hash(ticket), now).await?;
                let (user, session) = redeemed.ok_or(AuthenticateError::NotSignedIn)?;
                // As if an access token had been issued with the ticket.
                let until = now + self.tokens.lifetimes().access;
                self.authorize_session(connection, Caller { user, session, until })
                    .await
            })
            .await
    }

    /// Refuses a caller whose session has ended or whose account is suspended; records that the user was seen.
    async fn authorize_session(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
    ) -> Result<Caller, AuthenticateError> {
        let state = sessions::find_state(connection, caller.session, caller.user)
            .await?
            .ok_or(AuthenticateError::NotSignedIn)?;
        if state.suspended {
            return Err(AuthenticateError::Suspended);
        }
        let now = self.clock.now_micros();
        let stale = now - LAST_SEEN_PRECISION;
        if state.last_seen.is_none_or(|seen| seen <= stale) {
            users::touch_last_seen(connection, caller.user, now, stale).await?;
        }
        Ok(caller)
    }

    /// Opens a session in the transaction of `connection`, and ends the user's oldest ones beyond the limit.
    pub(crate) async fn open(
        &self,
        connection: &mut PgConnection,
        user: User,
        device: Option<&Name>,
    ) -> Result<SignedIn, SignInError> {
        let now = self.clock.now_micros();
        let token = self.tokens.refresh_token(self.entropy.bytes())?;
        let expires_at = now + self.tokens.lifetimes().refresh;
        let device = device.map(Name::as_str);
        let session = sessions::insert(connection, user.id, device, &token.stored, now, expires_at).await?;
        sessions::end_oldest_beyond(connection, user.id, MAX_SESSIONS, now).await?;
        self.signed_in(user, session, token)
    }

    fn signed_in(&self, user: User, session: SessionId, refresh: IssuedRefreshToken) -> Result<SignedIn, SignInError> {
        Ok(SignedIn {
            access_token: self.access_token(user.id, session)?,
            user,
            refresh_token: refresh.secret,
            expires_in: self.tokens.lifetimes().access,
        })
    }

    fn access_token(&self, user: UserId, session: SessionId) -> Result<String, SigningFailed> {
        self.tokens.issue_access(user, session, self.clock.now(), &self.entropy)
    }
}
