//! Accounts: registering, signing in, staying signed in, signing out.
//!
//! A session has exactly one refresh token that works. A token that was replaced and comes back means that two parties
//! hold it, so the session ends, except within [`GRACE`] of a replacement nobody has used: then the answer was lost,
//! and the unused successor is replaced.

use chrono::TimeDelta;
use cura_domain::account::{Email, Name, NewPassword};
use cura_domain::{SessionId, UserId};
use cura_store::sessions::Standing;
use cura_store::{StoreError, sessions, users};
use thiserror::Error;

pub use cura_store::users::User;

use crate::passwords::{Checked, PasswordError};
use crate::tokens::{RefreshToken, SigningFailed};
use crate::{App, commit, conn, stamp};

/// How long a replaced refresh token is forgiven, for an answer that never arrived.
const GRACE: TimeDelta = TimeDelta::seconds(10);

/// Who makes a request: a user through one of their sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
}

/// A signed-in session as the client gets it.
pub struct SignedIn {
    /// The user.
    pub user: User,
    /// The access token.
    pub access_token: String,
    /// The refresh token.
    pub refresh_token: String,
    /// How long the access token lives.
    pub expires_in: TimeDelta,
}

/// Why somebody is not signed in.
#[derive(Debug, Error)]
pub enum SignInError {
    /// The address has an account already.
    #[error("the address is taken")]
    EmailTaken,
    /// Address and password do not match; which of them is wrong stays open.
    #[error("address and password do not match")]
    WrongCredentials,
    /// The refresh token is unknown, dead or expired.
    #[error("the refresh token is not valid")]
    InvalidToken,
    /// The account is suspended.
    #[error("the account is suspended")]
    Suspended,
    /// Passwords are not checked right now.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// No access token could be made.
    #[error(transparent)]
    Signing(#[from] SigningFailed),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a request is not let in.
#[derive(Debug, Error)]
pub enum AuthenticateError {
    /// No valid token, or its session has ended.
    #[error("not signed in")]
    NotSignedIn,
    /// The account is suspended.
    #[error("the account is suspended")]
    Suspended,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl App {
    /// Makes an account and signs in.
    ///
    /// # Errors
    /// [`SignInError::EmailTaken`], after the same time as a success.
    pub async fn register(
        &self,
        email: &Email,
        password: &NewPassword,
        name: Option<&Name>,
    ) -> Result<SignedIn, SignInError> {
        let hash = self.0.passwords.hash(password.expose()).await?;
        let now = stamp(&self.0.clock);
        let mut transaction = self.begin().await?;
        let user = users::insert(
            conn(&mut transaction),
            email.as_str(),
            &hash,
            name.map(Name::as_str),
            now,
        )
        .await?
        .ok_or(SignInError::EmailTaken)?;
        let signed_in = self.open_session(&mut transaction, user, None).await?;
        commit(transaction).await?;
        Ok(signed_in)
    }

    /// Signs in with address and password.
    ///
    /// # Errors
    /// [`SignInError::WrongCredentials`], after the same time for an unknown address as for a wrong password;
    /// [`SignInError::Suspended`] only to somebody who knows the password.
    pub async fn login(&self, email: &Email, password: &str, device: Option<&Name>) -> Result<SignedIn, SignInError> {
        let known = users::find_credentials(&mut *self.connection().await?, email.as_str()).await?;
        let stored = known.as_ref().map(|known| known.password_hash.as_str());
        let checked = self.0.passwords.check(password, stored).await?;
        let (Some(known), Checked::Right { outdated }) = (known, checked) else {
            return Err(SignInError::WrongCredentials);
        };
        if known.suspended {
            return Err(SignInError::Suspended);
        }
        let rehashed = if outdated {
            Some(self.0.passwords.hash(password).await?)
        } else {
            None
        };
        let now = stamp(&self.0.clock);
        let mut transaction = self.begin().await?;
        if let Some(new) = rehashed {
            users::replace_password_hash(conn(&mut transaction), known.id, &known.password_hash, &new, now).await?;
        }
        let user = users::find(conn(&mut transaction), known.id)
            .await?
            .ok_or(SignInError::WrongCredentials)?;
        let signed_in = self.open_session(&mut transaction, user, device).await?;
        commit(transaction).await?;
        Ok(signed_in)
    }

    /// A new pair for a refresh token; the old one dies.
    ///
    /// # Errors
    /// [`SignInError::InvalidToken`]; when the token was a dead one, its session has ended too.
    pub async fn refresh(&self, token: &str) -> Result<SignedIn, SignInError> {
        let presented = RefreshToken::hash(token);
        let now = stamp(&self.0.clock);
        let mut transaction = self.begin().await?;
        let session = sessions::lock_by_token(conn(&mut transaction), &presented)
            .await?
            .ok_or(SignInError::InvalidToken)?;
        if session.ended || session.expires_at <= now {
            return Err(SignInError::InvalidToken);
        }
        if session.suspended {
            return Err(SignInError::Suspended);
        }
        let (replaced, rotated_at) = if session.current_token == presented {
            (presented.to_vec(), now)
        } else {
            match (session.previous_token, session.rotated_at) {
                (Some(previous), Some(rotated_at)) if previous == presented && now - rotated_at <= GRACE => {
                    (previous, rotated_at)
                }
                _ => {
                    sessions::end(conn(&mut transaction), session.id, now).await?;
                    commit(transaction).await?;
                    tracing::warn!(user_id = %session.user_id, session_id = %session.id,
                        "a dead refresh token came back: the session was ended");
                    return Err(SignInError::InvalidToken);
                }
            }
        };
        let next = RefreshToken::generate(&self.0.entropy);
        let expires_at = now + self.0.tokens.lifetimes().refresh;
        sessions::rotate(
            conn(&mut transaction),
            session.id,
            &replaced,
            rotated_at,
            &next.hash,
            now,
            expires_at,
        )
        .await?;
        let user = users::find(conn(&mut transaction), session.user_id)
            .await?
            .ok_or(SignInError::InvalidToken)?;
        let signed_in = self.signed_in(user, session.id, next)?;
        commit(transaction).await?;
        Ok(signed_in)
    }

    /// Ends the session of a refresh token. An unknown token has no session, which is what was asked for.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn logout(&self, token: &str) -> Result<(), StoreError> {
        let now = stamp(&self.0.clock);
        let mut transaction = self.begin().await?;
        if let Some(session) = sessions::lock_by_token(conn(&mut transaction), &RefreshToken::hash(token)).await? {
            sessions::end(conn(&mut transaction), session.id, now).await?;
        }
        commit(transaction).await
    }

    /// Who an access token stands for, at this moment.
    ///
    /// # Errors
    /// [`AuthenticateError`] says whether signing in would help.
    pub async fn authenticate(&self, access_token: &str) -> Result<Caller, AuthenticateError> {
        let (user, session) = self
            .0
            .tokens
            .read_access(access_token, self.0.clock.now())
            .ok_or(AuthenticateError::NotSignedIn)?;
        match sessions::standing(&mut *self.connection().await?, session, user).await? {
            Some(Standing::Good) => Ok(Caller { user, session }),
            Some(Standing::Suspended) => Err(AuthenticateError::Suspended),
            None => Err(AuthenticateError::NotSignedIn),
        }
    }

    /// The caller's profile; `None` when the account was erased in this moment.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn profile(&self, caller: Caller) -> Result<Option<User>, StoreError> {
        users::find(&mut *self.connection().await?, caller.user).await
    }

    async fn open_session(
        &self,
        transaction: &mut sqlx::Transaction<'static, sqlx::Postgres>,
        user: User,
        device: Option<&Name>,
    ) -> Result<SignedIn, SignInError> {
        let now = stamp(&self.0.clock);
        let token = RefreshToken::generate(&self.0.entropy);
        let expires_at = now + self.0.tokens.lifetimes().refresh;
        let session = sessions::insert(
            conn(transaction),
            user.id,
            device.map(Name::as_str),
            &token.hash,
            now,
            expires_at,
        )
        .await?;
        self.signed_in(user, session, token)
    }

    fn signed_in(&self, user: User, session: SessionId, refresh: RefreshToken) -> Result<SignedIn, SignInError> {
        let access_token = self
            .0
            .tokens
            .issue_access(user.id, session, self.0.clock.now(), &self.0.entropy)?;
        Ok(SignedIn {
            user,
            access_token,
            refresh_token: refresh.secret,
            expires_in: self.0.tokens.lifetimes().access,
        })
    }
}
