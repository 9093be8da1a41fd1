//! Users, for operators: which there are, what is known of one, and what is done to accounts. Nothing here reads a hash, a title or a word
//! of anybody.

mod accounts;
mod erasure;
mod leftovers;
mod shown;

use cura_answers::Answers;
use cura_domain::UserId;
use cura_live::Live;
use cura_store::users::{self, KnownUsers, LockedAccount};
use cura_store::{PgConnection, StoreError};
use thiserror::Error;

pub use accounts::{Changed, NewUser, SignedOut, Suspended};
pub use cura_domain::user::KnownUser;
pub use erasure::{Erasure, ErasureProgress};
pub use leftovers::{Leftovers, LiveLeftovers, TableRows};
pub use shown::{ShownUser, UserLimits};

use super::NamedUser;
use super::acts::{Act, Acts, OperateError};
use crate::passwords::PasswordError;

/// Why nothing was done.
#[derive(Debug, Error)]
pub enum OperateUsersError {
    /// There is no such user.
    #[error("there is no such user")]
    NotFound,
    /// The account is being erased.
    #[error("the account of user {0} is being erased")]
    BeingErased(UserId),
    /// The address has an account already.
    #[error("the address has an account already")]
    EmailTaken,
    /// Nobody else is an admin who can sign in.
    #[error("user {0} is the last admin who can sign in")]
    LastAdmin(UserId),
    /// The password could not be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OperateError for OperateUsersError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "user_not_found",
            Self::BeingErased(_) => "being_erased",
            Self::EmailTaken => "email_taken",
            Self::LastAdmin(_) => "last_admin",
            Self::Password(_) => "password_not_hashed",
            Self::Store(error) => error.code(),
        }
    }
}

/// The use cases of operators. Cheap to clone.
#[derive(Clone)]
pub struct Users {
    acts: Acts,
    /// Where texts of running answers are; without it they go when the job of an erasure runs.
    live: Option<Live>,
    /// The life of answers, to end those of a suspended user.
    answers: Answers,
}

impl Users {
    /// Puts the parts together.
    pub const fn new(acts: Acts, live: Option<Live>, answers: Answers) -> Self {
        Self { acts, live, answers }
    }

    /// At most `limit` users, newest first, and whether there are more.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list(&self, which: &KnownUsers, limit: u32) -> Result<(Vec<KnownUser>, bool), StoreError> {
        let (limit, wanted) = (limit as usize, i64::from(limit) + 1);
        let listed = self
            .acts
            .database()
            .connection(async |connection| users::list_known(connection, which, wanted).await);
        let mut listed = listed.await?;
        let has_more = listed.len() > limit;
        listed.truncate(limit);
        Ok((listed, has_more))
    }
}

/// Locks the account that is named, and says in the record whose it is.
async fn lock(
    connection: &mut PgConnection,
    act: &mut Act,
    user: &NamedUser,
) -> Result<(UserId, LockedAccount), OperateUsersError> {
    if let NamedUser::Id(id) = user {
        // Also if there is none.
        act.set_target(id);
    }
    let id = user.find(connection).await?.ok_or(OperateUsersError::NotFound)?;
    act.set_target(id);
    let account = users::lock_account(connection, id).await?;
    Ok((id, account.ok_or(OperateUsersError::NotFound)?))
}

/// Locks the account that is named, unless it is being erased.
async fn lock_living(
    connection: &mut PgConnection,
    act: &mut Act,
    user: &NamedUser,
) -> Result<(UserId, LockedAccount), OperateUsersError> {
    let (id, account) = lock(connection, act, user).await?;
    if account.is_being_erased {
        return Err(OperateUsersError::BeingErased(id));
    }
    Ok((id, account))
}
