//! Accounts: registering, logging in, changing the password, and erasing an account.
//!
//! Wrong address and wrong password cannot be told apart, neither by the error nor by the time it takes.

use cura_answers::cancel_all_jobs;
use cura_domain::account::{Email, Name, NewPassword};
use cura_domain::{Clock, MessageId, UserId};
use cura_live::Live;
use cura_queue::{EraseUser, JobOwner};
use cura_store::{Database, StoreError, answers, sessions, users};
use thiserror::Error;

use crate::passwords::{Checked, PasswordError, Passwords};
use crate::sessions::{Caller, Sessions, SignInError, SignedIn};

/// Why a password was not changed, or did not authenticate the caller.
#[derive(Debug, Error)]
pub enum ChangePasswordError {
    /// It is not the current password.
    #[error("the password is wrong")]
    WrongPassword,
    /// Passwords cannot be checked now.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The session ended meanwhile, or its tokens could not be made.
    #[error(transparent)]
    Renew(#[from] SignInError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The use cases of accounts. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    database: Database,
    live: Live,
    clock: Clock,
    passwords: Passwords,
    sessions: Sessions,
}

impl Accounts {
    /// Puts the parts together.
    pub fn new(database: Database, live: Live, clock: Clock, passwords: Passwords, sessions: Sessions) -> Self {
        Self {
            database,
            live,
            clock,
            passwords,
            sessions,
        }
    }

    /// Creates an account and signs in.
    ///
    /// # Errors
    /// [`SignInError::EmailTaken`], after the same time as a success.
    pub async fn register(
        &self,
        email: &Email,
        password: &NewPassword,
        name: Option<&Name>,
    ) -> Result<SignedIn, SignInError> {
        let hash = self.passwords.hash(password.expose()).await?;
        let now = self.clock.now_micros();
        self.database
            .transaction(async |connection| {
                let name = name.map(Name::as_str);
                let user = users::insert(connection, email.as_str(), &hash, name, now)
                    .await?
                    .ok_or(SignInError::EmailTaken)?;
                self.sessions.open(connection, user, None).await
            })
            .await
    }

    /// Signs in with address and password.
    ///
    /// # Errors
    /// [`SignInError::WrongCredentials`], after the same time for an unknown address as for a wrong password;
    /// [`SignInError::Suspended`] only when the password is right.
    pub async fn login(&self, email: &Email, password: &str, device: Option<&Name>) -> Result<SignedIn, SignInError> {
        let known = self
            .database
            .connection(async |connection| users::find_credentials(connection, email.as_str()).await);
        let known = known.await?;
        let stored = known.as_ref().map(|known| known.password_hash.as_str());
        let checked = self.passwords.check(password, stored).await?;
        let (Some(known), Checked::Right { outdated }) = (known, checked) else {
            return Err(SignInError::WrongCredentials);
        };
        let rehashed = if outdated {
            Some(self.passwords.hash(password).await?)
        } else {
            None
        };
        let now = self.clock.now_micros();
        self.database
            .transaction(async |connection| {
                // Since the check began, the password may have changed, or the account may have been erased.
                let current = users::lock_credentials(connection, known.id)
                    .await?
                    .filter(|current| current.password_hash == known.password_hash)
                    .ok_or(SignInError::WrongCredentials)?;
                if current.suspended {
                    return Err(SignInError::Suspended);
                }
                if let Some(new) = rehashed {
                    users::replace_password_hash(connection, known.id, &known.password_hash, &new, now).await?;
                }
                let user = users::find(connection, known.id)
                    .await?
                    .ok_or(SignInError::WrongCredentials)?;
                self.sessions.open(connection, user, device).await
            })
            .await
    }

    /// Changes the caller's password, ends every other session, and gives this one a new pair of tokens: the old pair is dead.
    ///
    /// # Errors
    /// [`ChangePasswordError::WrongPassword`] when `current` is not the current password.
    pub async fn change_password(
        &self,
        caller: Caller,
        current: &str,
        new: &NewPassword,
    ) -> Result<SignedIn, ChangePasswordError> {
        let stored = self.check_password(caller.user, current).await?;
        let hash = self.passwords.hash(new.expose()).await?;
        let now = self.clock.now_micros();
        self.database
            .transaction(async |connection| {
                if !users::replace_password_hash(connection, caller.user, &stored, &hash, now).await? {
                    return Err(ChangePasswordError::WrongPassword);
                }
                sessions::end_all(connection, caller.user, Some(caller.session), now).await?;
                Ok(self.sessions.renew(connection, caller).await?)
            })
            .await
    }

    /// Erases the caller's account. Its data is invisible at once; a job removes the rows.
    ///
    /// # Errors
    /// [`ChangePasswordError::WrongPassword`] when `password` is not the current password.
    pub async fn erase(&self, caller: Caller, password: &str) -> Result<(), ChangePasswordError> {
        self.check_password(caller.user, password).await?;
        let running = self.begin_erasure(caller.user).await?;
        tracing::info!(user_id = %caller.user, "an account is being erased");
        self.live.publish_deleted(&running).await;
        Ok(())
    }

    /// Empties the user's row, ends every session, cancels every job that works with the user's words, and enqueues the job that removes the rest.
    /// Returns the running answers.
    async fn begin_erasure(&self, user: UserId) -> Result<Vec<MessageId>, StoreError> {
        let now = self.clock.now_micros();
        self.database
            .transaction(async |connection| {
                users::begin_erasure(connection, user, now).await?;
                sessions::end_all(connection, user, None, now).await?;
                let running = answers::list_running(connection, user).await?;
                cancel_all_jobs(connection, JobOwner::user(user), &running).await?;
                let job = EraseUser {
                    user_id: user.0,
                    round: 0,
                };
                cura_queue::enqueue(connection, &job).await?;
                Ok(running)
            })
            .await
    }

    /// Checks the user's password and returns its stored hash.
    async fn check_password(&self, user: UserId, password: &str) -> Result<String, ChangePasswordError> {
        let stored = self
            .database
            .connection(async |connection| users::password_hash(connection, user).await);
        let stored: Option<String> = stored.await?;
        match (self.passwords.check(password, stored.as_deref()).await?, stored) {
            (Checked::Right { .. }, Some(stored)) => Ok(stored),
            _ => Err(ChangePasswordError::WrongPassword),
        }
    }
}
