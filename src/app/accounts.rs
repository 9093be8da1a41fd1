//! Accounts: registering, logging in, changing the password, and erasing an account.
//!
//! Wrong address and wrong password cannot be told apart, neither by the error nor by the time it takes.

use cura_domain::account::{DeviceName, Email, Name, NewPassword};
use cura_domain::user::User;
use cura_domain::{Clock, UserId};
use cura_live::Live;
use cura_store::users::Credentials;
use cura_store::{Database, PgConnection, StoreError, known_places, sessions, users};
use thiserror::Error;

use crate::auth_tokens::PresentedToken;
use crate::erasure;
use crate::passwords::{Checked, PasswordError, Passwords};
use crate::sessions::{Caller, Sessions, SignInError, SignedIn};
use crate::sign_in_guard::{Account, Place, SignInGuard, TooManyFailures};

/// How many places of a user are known: the last ones.
const MAX_KNOWN_PLACES: i64 = 20;

/// Why a password was not changed, or did not authenticate the caller.
#[derive(Debug, Error)]
pub enum ChangePasswordError {
    /// It is not the current password.
    #[error("the password is wrong")]
    WrongPassword,
    /// Too many passwords of this account were wrong.
    #[error(transparent)]
    TooManyFailures(#[from] TooManyFailures),
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

/// From where somebody may sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInFrom {
    /// From anywhere.
    Anywhere,
    /// From a place from which the user has signed in before: too many have tried to sign in there. Its tries are counted by
    /// account and place.
    KnownPlace,
}

/// The use cases of accounts. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    database: Database,
    live: Live,
    clock: Clock,
    passwords: Passwords,
    sessions: Sessions,
    guard: SignInGuard,
}

impl Accounts {
    /// Puts the parts together.
    pub fn new(
        database: Database,
        live: Live,
        clock: Clock,
        passwords: Passwords,
        sessions: Sessions,
        guard: SignInGuard,
    ) -> Self {
        Self {
            database,
            live,
            clock,
            passwords,
            sessions,
            guard,
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
        place: &Place,
    ) -> Result<SignedIn, SignInError> {
        let hash = self.passwords.hash(password.expose()).await?;
        let now = self.clock.now_micros();
        let registered = self.database.transaction(async |connection| {
            let name = name.map(Name::as_str);
            let user = users::insert(connection, email.as_str(), &hash, name, Some(now), now)
                .await?
                .ok_or(SignInError::EmailTaken)?;
            self.remember_place(connection, user.id, place).await?;
            self.sessions.open(connection, user, None).await
        });
        let registered = registered.await;
        if matches!(registered, Err(SignInError::EmailTaken)) {
            self.guard.log_taken(Account::Named(email), place);
        }
        registered
    }

    /// Signs in with address and password.
    ///
    /// # Errors
    /// [`SignInError::WrongCredentials`], after the same time for an unknown address as for a wrong password;
    /// [`SignInError::TooManyFailures`] for both alike; [`SignInError::Suspended`] only when the password is right.
    pub async fn login(
        &self,
        email: &Email,
        password: &str,
        device: Option<&DeviceName>,
        place: &Place,
        from: SignInFrom,
    ) -> Result<SignedIn, SignInError> {
        let open = async |connection: &mut PgConnection, user| self.sessions.open(connection, user, device).await;
        self.sign_in(email, password, place, from, open).await
    }

    /// Checks address and password as [`Self::login`] does, and opens with `open` what the user signs in to, in the same transaction.
    ///
    /// # Errors
    /// As of [`Self::login`], or that of `open`.
    pub(crate) async fn sign_in<T, E: From<SignInError> + From<StoreError>>(
        &self,
        email: &Email,
        password: &str,
        place: &Place,
        from: SignInFrom,
        open: impl AsyncFnOnce(&mut PgConnection, User) -> Result<T, E>,
    ) -> Result<T, E> {
        let hashes = self.guard.hashes_of(place);
        let known = self
            .database
            .connection(async |connection| users::find_credentials(connection, email.as_str(), &hashes).await);
        let known: Option<Credentials> = known.await.map_err(SignInError::from)?;
        let known_here = known.as_ref().is_some_and(|known| known.knows_place);
        let counted = match from {
            SignInFrom::Anywhere => None,
            SignInFrom::KnownPlace if known_here => {
                let begun = self.guard.begin_at_place(Account::Named(email), place).await;
                Some(begun.map_err(SignInError::from)?)
            }
            SignInFrom::KnownPlace => return Err(SignInError::NotChecked.into()),
        };
        let checked = self
            .check_guarded(Account::Named(email), place, password, known.as_ref())
            .await;
        // What was not checked, because the server was too busy, did not fail either.
        if let Some(counted) = counted
            && !matches!(checked, Ok(Ok(Checked::Wrong)))
        {
            counted.take_back().await;
        }
        let checked = checked.map_err(SignInError::from)?.map_err(SignInError::from)?;
        let (Some(known), Checked::Right { outdated }) = (known, checked) else {
            return Err(SignInError::WrongCredentials.into());
        };
        let rehashed = if outdated {
            Some(self.passwords.hash(password).await.map_err(SignInError::from)?)
        } else {
            None
        };
        let now = self.clock.now_micros();
        self.database
            .transaction(async |connection| {
                // Since the check began, the password may have changed, or the account may have been erased.
                let current = users::lock_credentials(connection, known.id, &hashes)
                    .await?
                    .filter(|current| current.password_hash == known.password_hash)
                    .ok_or(SignInError::WrongCredentials)?;
                if current.suspended {
                    return Err(SignInError::Suspended.into());
                }
                if let Some(new) = rehashed {
                    users::replace_password_hash(connection, known.id, &known.password_hash, &new, now).await?;
                }
                let user = users::find(connection, known.id)
                    .await?
                    .ok_or(SignInError::WrongCredentials)?;
                self.remember_place(connection, known.id, place).await?;
                open(connection, user).await
            })
            .await
    }

    /// Exchanges a refresh token for a new pair of tokens ([`Sessions::refresh`]), and remembers where the user is.
    ///
    /// # Errors
    /// [`SignInError::InvalidToken`]; when the token was dead, its session has ended too.
    pub async fn refresh(&self, token: &PresentedToken, place: &Place) -> Result<SignedIn, SignInError> {
        let signed_in = self.sessions.refresh(token).await?;
        let user = signed_in.user.id;
        let remembered = self
            .database
            .transaction(async |connection| self.remember_place(connection, user, place).await);
        if let Err(error) = remembered.await {
            // The new pair counts: without it the client could not go on.
            tracing::warn!(user_id = %user, %error, "a place could not be remembered");
        }
        Ok(signed_in)
    }

    async fn remember_place(
        &self,
        connection: &mut PgConnection,
        user: UserId,
        place: &Place,
    ) -> Result<(), StoreError> {
        let (hash, now) = (self.guard.hash_of(place), self.clock.now_micros());
        known_places::remember(connection, user, &hash, now, MAX_KNOWN_PLACES).await
    }

    /// Checks a password, if its account does not have to wait. The try is counted before; one that is right, or cannot be checked
    /// now, is taken back.
    async fn check_guarded(
        &self,
        account: Account<'_>,
        place: &Place,
        password: &str,
        known: Option<&Credentials>,
    ) -> Result<Result<Checked, PasswordError>, TooManyFailures> {
        let knows_place = known.is_some_and(|known| known.knows_place);
        let counted = self.guard.begin(account, place, knows_place).await?;
        let stored = known.map(|known| known.password_hash.as_str());
        let checked = self.passwords.check(password, stored).await;
        match checked {
            Ok(Checked::Wrong) => self.guard.log_failure(account, place),
            Ok(Checked::Right { .. }) | Err(_) => counted.take_back().await,
        }
        Ok(checked)
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
        place: &Place,
    ) -> Result<SignedIn, ChangePasswordError> {
        let stored = self.check_password(caller.user, current, place).await?;
        let hash = self.passwords.hash(new.expose()).await?;
        let now = self.clock.now_micros();
        let renewed = self
            .database
            .transaction(async |connection| {
                if !users::replace_password_hash(connection, caller.user, &stored, &hash, now).await? {
                    return Err(ChangePasswordError::WrongPassword);
                }
                sessions::end_all(connection, caller.user, Some(caller.session), now).await?;
                Ok(self.sessions.renew(connection, caller).await?)
            })
            .await;
        // Also after a failure: whether it was committed may be unknown.
        self.sessions.cache().forget_user(caller.user);
        renewed
    }

    /// Erases the caller's account. Its data is invisible at once; a job removes the rows.
    ///
    /// # Errors
    /// [`ChangePasswordError::WrongPassword`] when `password` is not the current password.
    pub async fn erase(&self, caller: Caller, password: &str, place: &Place) -> Result<(), ChangePasswordError> {
        self.check_password(caller.user, password, place).await?;
        let now = self.clock.now_micros();
        let begun = self
            .database
            .transaction(async |connection| erasure::begin(connection, caller.user, now).await)
            .await;
        self.sessions.cache().forget_user(caller.user);
        let running = begun?;
        tracing::info!(user_id = %caller.user, "an account is being erased");
        self.live.publish_deleted(&running).await;
        Ok(())
    }

    /// Checks the user's password and returns its stored hash.
    async fn check_password(&self, user: UserId, password: &str, place: &Place) -> Result<String, ChangePasswordError> {
        let hashes = self.guard.hashes_of(place);
        let known = self
            .database
            .connection(async |connection| users::find_own_credentials(connection, user, &hashes).await);
        let known: Option<Credentials> = known.await?;
        let checked = self
            .check_guarded(Account::Known(user), place, password, known.as_ref())
            .await?;
        match (checked?, known) {
            (Checked::Right { .. }, Some(known)) => Ok(known.password_hash),
            _ => Err(ChangePasswordError::WrongPassword),
        }
    }
}
