//! Accounts: registering, signing in, changing the password, and who makes a request.

use chrono::{DateTime, TimeDelta, Utc};
use cura_domain::account::{Email, Name, NewPassword};
use cura_domain::{SessionId, UserId};
use cura_store::{PgConnection, StoreError, sessions, users};
use thiserror::Error;

pub use cura_domain::user::User;

use crate::passwords::{Checked, PasswordError};
use crate::tokens::{RefreshToken, SigningFailed};
use crate::{App, stamp};

/// The most places somebody is signed in at; the one used longest ago ends first.
pub(crate) const MAX_SESSIONS: i64 = 100;
/// How exact `last_seen` is: noting every request would write a row for each read.
const SEEN_GRAIN: TimeDelta = TimeDelta::minutes(1);

/// Who makes a request: a user through one of their sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// When what they showed expires: streams that are open for it end then.
    pub until: DateTime<Utc>,
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

/// Why a password was not changed, or did not prove who somebody is.
#[derive(Debug, Error)]
pub enum ChangePasswordError {
    /// It is not the present one.
    #[error("the password is wrong")]
    WrongPassword,
    /// Passwords are not checked right now.
    #[error(transparent)]
    Password(#[from] PasswordError),
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
        self.write(async |connection| {
            let name = name.map(Name::as_str);
            let user = users::insert(connection, email.as_str(), &hash, name, now)
                .await?
                .ok_or(SignInError::EmailTaken)?;
            self.open_session(connection, user, None).await
        })
        .await
    }

    /// Signs in with address and password.
    ///
    /// # Errors
    /// [`SignInError::WrongCredentials`], after the same time for an unknown address as for a wrong password;
    /// [`SignInError::Suspended`] only to somebody who knows the password.
    pub async fn login(&self, email: &Email, password: &str, device: Option<&Name>) -> Result<SignedIn, SignInError> {
        let known = self.read(async |connection| users::find_credentials(connection, email.as_str()).await);
        let known = known.await?;
        let stored = known.as_ref().map(|known| known.password_hash.as_str());
        let checked = self.0.passwords.check(password, stored).await?;
        let (Some(known), Checked::Right { outdated }) = (known, checked) else {
            return Err(SignInError::WrongCredentials);
        };
        let rehashed = if outdated {
            Some(self.0.passwords.hash(password).await?)
        } else {
            None
        };
        let now = stamp(&self.0.clock);
        self.write(async |connection| {
            // Checking took its time: the password may be another one by now, or the account gone.
            let present = users::lock_credentials(connection, known.id)
                .await?
                .filter(|present| present.password_hash == known.password_hash)
                .ok_or(SignInError::WrongCredentials)?;
            if present.suspended {
                return Err(SignInError::Suspended);
            }
            if let Some(new) = rehashed {
                users::replace_password_hash(connection, known.id, &known.password_hash, &new, now).await?;
            }
            let user = users::find(connection, known.id)
                .await?
                .ok_or(SignInError::WrongCredentials)?;
            self.open_session(connection, user, device).await
        })
        .await
    }

    /// Who an access token stands for, at this moment.
    ///
    /// # Errors
    /// [`AuthenticateError`] says whether signing in would help.
    pub async fn authenticate(&self, access_token: &str) -> Result<Caller, AuthenticateError> {
        let caller = self
            .0
            .tokens
            .read_access(access_token, self.0.clock.now())
            .ok_or(AuthenticateError::NotSignedIn)?;
        self.read(async |connection| self.admit(connection, caller).await).await
    }

    /// Lets a caller in whose session lives, and notes that they were here.
    pub(crate) async fn admit(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
    ) -> Result<Caller, AuthenticateError> {
        let standing = sessions::standing(connection, caller.session, caller.user)
            .await?
            .ok_or(AuthenticateError::NotSignedIn)?;
        if standing.suspended {
            return Err(AuthenticateError::Suspended);
        }
        let now = stamp(&self.0.clock);
        let stale = now - SEEN_GRAIN;
        if standing.last_seen.is_none_or(|seen| seen <= stale) {
            users::see(connection, caller.user, now, stale).await?;
        }
        Ok(caller)
    }

    /// Changes the caller's password; every other session ends.
    ///
    /// # Errors
    /// [`ChangePasswordError::WrongPassword`] when `current` is not the present one.
    pub async fn change_password(
        &self,
        caller: Caller,
        current: &str,
        new: &NewPassword,
    ) -> Result<(), ChangePasswordError> {
        let stored = self.check_password(caller, current).await?;
        let hash = self.0.passwords.hash(new.expose()).await?;
        let now = stamp(&self.0.clock);
        self.write(async |connection| {
            if !users::replace_password_hash(connection, caller.user, &stored, &hash, now).await? {
                return Err(ChangePasswordError::WrongPassword);
            }
            sessions::end_all(connection, caller.user, Some(caller.session), now).await?;
            Ok(())
        })
        .await
    }

    /// Checks that it is really the caller; gives the stored hash.
    pub(crate) async fn check_password(&self, caller: Caller, password: &str) -> Result<String, ChangePasswordError> {
        let stored = self.read(async |connection| users::password_hash(connection, caller.user).await);
        let stored = stored.await?;
        match (self.0.passwords.check(password, stored.as_deref()).await?, stored) {
            (Checked::Right { .. }, Some(stored)) => Ok(stored),
            _ => Err(ChangePasswordError::WrongPassword),
        }
    }

    /// The caller's profile; `None` when the account was erased in this moment.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn profile(&self, caller: Caller) -> Result<Option<User>, StoreError> {
        self.read(async |connection| users::find(connection, caller.user).await)
            .await
    }

    async fn open_session(
        &self,
        connection: &mut PgConnection,
        user: User,
        device: Option<&Name>,
    ) -> Result<SignedIn, SignInError> {
        let now = stamp(&self.0.clock);
        let token = self.0.tokens.refresh_token(self.0.entropy.bytes())?;
        let expires_at = now + self.0.tokens.lifetimes().refresh;
        let session = sessions::insert(
            connection,
            user.id,
            device.map(Name::as_str),
            &token.kept,
            now,
            expires_at,
        )
        .await?;
        sessions::end_beyond(connection, user.id, MAX_SESSIONS, now).await?;
        self.signed_in(user, session, token)
    }

    pub(crate) fn signed_in(
        &self,
        user: User,
        session: SessionId,
        refresh: RefreshToken,
    ) -> Result<SignedIn, SignInError> {
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
