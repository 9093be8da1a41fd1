//! Sessions: opening, authenticating, listing and ending them, and the tickets and stream tokens that stand for them.
//!
//! Tokens come in generations, of which the session's row knows the newest ([`refresh`]). A request is authenticated against
//! that row, or against what this server knows of it ([`crate::session_cache`]): a session that was ended here is refused at once,
//! one that was ended elsewhere as soon as that was notified, within two seconds.

mod page_tokens;
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
use cura_store::sessions::SessionState;
pub use page_tokens::IssuedPageToken;
pub(crate) use page_tokens::PAGE_DEVICE_NAME;
pub use stream_tokens::IssuedStreamToken;
pub use tickets::IssuedTicket;

use crate::auth_tokens::{AccessToken, RefreshToken, SigningFailed, Tokens};
pub use crate::auth_tokens::{PresentedToken, StreamToken, Ticket};
pub use crate::caller::Caller;
use crate::passwords::PasswordError;
use crate::session_cache::{LookUp, SessionCache};
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
    /// The password was not looked at: its address may try no more, and is none that the account was used from. Not disclosed either.
    #[error("address and password do not match")]
    NotChecked,
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

    /// Whether a session in this state authenticates it.
    fn is_good_for(self, state: &SessionState, now: DateTime<Utc>) -> bool {
        !state.suspended && state.expires_at > now && self.is_of(state.oldest_generation) && !self.is_newer_than(state)
    }

    /// Whether it was given out after the state was read.
    fn is_newer_than(self, state: &SessionState) -> bool {
        matches!(self, Self::AccessToken { generation } if generation > state.generation)
    }

    /// What has to be written when it is presented.
    fn to_record(self, state: &SessionState, now: DateTime<Utc>) -> Option<Unrecorded> {
        let first_use = match self {
            // Nothing came before the first generation, so its use changes nothing.
            Self::AccessToken { generation } if generation == state.generation && generation > 0 => Some(generation),
            Self::AccessToken { .. } | Self::Ticket | Self::StreamToken { .. } => None,
        };
        let first_use = first_use.filter(|_| !state.generation_used);
        let is_stale = state.last_seen.is_none_or(|seen| seen <= now - LAST_SEEN_PRECISION);
        (first_use.is_some() || is_stale).then_some(Unrecorded { first_use })
    }
}

/// What is not recorded yet: that the user was seen, and which generation was presented for the first time.
struct Unrecorded {
    first_use: Option<i32>,
}

/// The state of a session that authenticates its caller, with what was recorded of this use.
struct LookedUp {
    begun: LookUp,
    state: SessionState,
}

impl Caller {
    /// The caller as its session says.
    fn of_session(self, state: &SessionState) -> Self {
        Self {
            until: self.until.min(state.expires_at),
            oldest_generation: state.oldest_generation,
            ..self
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
    cache: SessionCache,
}

impl Sessions {
    /// Puts the parts together.
    pub fn new(database: Database, clock: Clock, entropy: Entropy, tokens: Tokens) -> Self {
        Self {
            database,
            clock,
            entropy,
            tokens: Arc::new(tokens),
            cache: SessionCache::default(),
        }
    }

    /// What is known of the sessions without asking the database.
    pub fn cache(&self) -> &SessionCache {
        &self.cache
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
        let proof = Proof::AccessToken {
            generation: token.generation,
        };
        self.authorize_with(token.caller, proof).await
    }

    /// Checks a proof against what is known of its session, or else against the session's row.
    async fn authorize_with(&self, caller: Caller, proof: Proof) -> Result<Caller, AuthenticateError> {
        if let Some(known) = self.cache.find(caller.session, caller.user) {
            let now = self.clock.now_micros();
            // Whatever has to be written, and whatever is refused, is looked up again.
            if proof.is_good_for(&known, now) && proof.to_record(&known, now).is_none() {
                return Ok(caller.of_session(&known));
            }
        }
        let looked_up = self
            .database
            .connection(async |connection| self.look_up(connection, caller, proof).await);
        Ok(self.admit(caller, looked_up.await?))
    }

    /// Ends every session of the caller, including the current one.
    pub async fn log_out_everywhere(&self, caller: Caller) -> Result<(), StoreError> {
        let now = self.clock.now_micros();
        self.database
            .transaction(async |connection| sessions::end_all(connection, caller.user, None, now).await)
            .await?;
        self.cache.forget_user(caller.user);
        Ok(())
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
        let ended = self
            .database
            .transaction(async |connection| sessions::end_owned(connection, caller.user, session, now).await)
            .await?;
        self.cache.forget(session);
        Ok(ended)
    }

    /// Refuses a caller whose session has ended, whose account is suspended, or whose token is dead; records that the token was
    /// presented and the user was seen. For [`Self::admit`], once that is committed.
    async fn look_up(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
        proof: Proof,
    ) -> Result<LookedUp, AuthenticateError> {
        let now = self.clock.now_micros();
        let begun = self.cache.begin();
        let mut state = sessions::find_state(connection, caller.session, caller.user)
            .await?
            .filter(|state| proof.is_of(state.oldest_generation) && state.expires_at > now)
            .ok_or(AuthenticateError::NotSignedIn)?;
        if state.suspended {
            return Err(AuthenticateError::Suspended);
        }
        if let Some(Unrecorded { first_use }) = proof.to_record(&state, now) {
            let stale = now - LAST_SEEN_PRECISION;
            sessions::record_use(connection, caller.session, caller.user, first_use, now, stale).await?;
            state.generation_used |= first_use.is_some();
            state.last_seen = state.last_seen.filter(|seen| *seen > stale).or(Some(now));
        }
        Ok(LookedUp { begun, state })
    }

    /// The caller as its session says, which is remembered.
    fn admit(&self, caller: Caller, LookedUp { begun, state }: LookedUp) -> Caller {
        self.cache.remember(begun, caller.session, caller.user, state);
        caller.of_session(&state)
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
