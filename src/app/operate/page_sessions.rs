//! Signing in to the operators' page: with the address and password of an admin, through what guards every sign-in. Each is recorded, and
//! so is one that was refused after its password was checked.

use cura_domain::account::Email;
use cura_domain::operator::OperatorName;
use cura_domain::user::User;
use cura_domain::{Clock, UserId};
use cura_store::{Database, PgConnection, StoreError, sessions, users};
use thiserror::Error;

use super::acts::{Act, Acts, OperateError as _, Via};
use crate::accounts::{Accounts, SignInFrom};
use crate::caller::Caller;
use crate::sessions::{IssuedPageToken, Sessions, SignInError};
use crate::sign_in_guard::Place;

/// Who tried to sign in, while that is not proven.
const UNPROVEN: &str = "unknown";

/// Why nobody is signed in to the page.
#[derive(Debug, Error)]
pub enum PageSignInError {
    /// As for anybody who signs in.
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// The password is right, and the account is no admin's.
    #[error("the account is no admin's")]
    NotAdmin(UserId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PageSignInError {
    /// The word for the record; `None` for what is not recorded, because nothing was checked: whoever floods the page fills no table.
    fn recorded(&self) -> Option<&'static str> {
        match self {
            Self::NotAdmin(_) => Some("not_admin"),
            Self::SignIn(SignInError::WrongCredentials) => Some("invalid_credentials"),
            Self::SignIn(SignInError::Suspended) => Some("account_suspended"),
            Self::Store(error) => Some(error.code()),
            Self::SignIn(_) => None,
        }
    }
}

/// The use cases of the operators' page. Cheap to clone.
#[derive(Clone)]
pub struct PageSessions {
    database: Database,
    clock: Clock,
    accounts: Accounts,
    sessions: Sessions,
}

impl PageSessions {
    /// Puts the parts together.
    pub const fn new(database: Database, clock: Clock, accounts: Accounts, sessions: Sessions) -> Self {
        Self {
            database,
            clock,
            accounts,
            sessions,
        }
    }

    /// Signs an admin in.
    ///
    /// # Errors
    /// As of [`Accounts::login`]; [`PageSignInError::NotAdmin`] only when the password is right.
    pub async fn sign_in(
        &self,
        email: &Email,
        password: &str,
        place: &Place,
        from: SignInFrom,
    ) -> Result<IssuedPageToken, PageSignInError> {
        let open = async |connection: &mut PgConnection, user: User| {
            let opened = self.sessions.open_page(connection, &user).await?;
            let token = opened.ok_or(PageSignInError::NotAdmin(user.id))?;
            let act = Act::new("page.sign-in").on(user.id);
            self.acts_of(Some(user.id)).done(connection, act).await?;
            Ok(token)
        };
        let signed_in: Result<IssuedPageToken, PageSignInError> =
            self.accounts.sign_in(email, password, place, from, open).await;
        if let Err(error) = &signed_in
            && let Some(code) = error.recorded()
        {
            self.record_refusal(email, error, code).await;
        }
        signed_in
    }

    async fn record_refusal(&self, email: &Email, error: &PageSignInError, code: &'static str) {
        let found = self
            .database
            .connection(async |connection| users::find_id(connection, email.as_str()).await);
        let act = match found.await {
            Ok(Some(user)) => Act::new("page.sign-in").on(user),
            _ => Act::new("page.sign-in"),
        };
        let proven = match error {
            PageSignInError::NotAdmin(user) => Some(*user),
            _ => None,
        };
        self.acts_of(proven).failed(act, code).await;
    }

    /// The admin whose cookie this is; `None` if the session has ended, or is no admin's any more.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn find(&self, page_token: &str) -> Result<Option<Caller>, StoreError> {
        self.sessions.find_admin(page_token).await
    }

    /// Ends the session of a page, also that of somebody who is no admin any more. Nothing happens if it has ended, or the token is not ours.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn sign_out(&self, page_token: &str) -> Result<(), StoreError> {
        let Some(caller) = self.sessions.read_page_token(page_token) else {
            return Ok(());
        };
        let now = self.clock.now_micros();
        let acts = self.acts_of(Some(caller.user));
        let ended = self.database.transaction(async |connection| {
            if sessions::end_owned(connection, caller.user, caller.session, now).await? {
                acts.done(connection, Act::new("page.sign-out").on(caller.user)).await?;
            }
            Ok(())
        });
        ended.await
    }

    /// The acts of a user at the page.
    fn acts_of(&self, user: Option<UserId>) -> Acts {
        let name = user.map(|user| format!("user {user}"));
        let operator = OperatorName::of_page(name.as_deref().unwrap_or(UNPROVEN));
        Acts::new(self.database.clone(), self.clock.clone(), operator, Via::Page)
    }
}
