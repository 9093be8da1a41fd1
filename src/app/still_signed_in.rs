//! Whether who was signed in when a request began still is: receiving a file may have taken minutes, and a busy database seconds.

use chrono::{DateTime, Utc};
use cura_store::{PgConnection, StoreError, sessions, users};
use thiserror::Error;

use crate::caller::Caller;

/// Why a caller may not go on.
#[derive(Debug, Error)]
pub(crate) enum NotAnyMore {
    /// The session has ended, or the account is being erased.
    #[error("not signed in")]
    NotSignedIn,
    /// The account was suspended.
    #[error("the account is suspended")]
    Suspended,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Holds a person alone, and the session as it is, until the transaction ends: in the order of locks.
///
/// # Errors
/// [`NotAnyMore`] when the session has ended meanwhile, or its person may do nothing.
pub(crate) async fn hold(connection: &mut PgConnection, caller: Caller, now: DateTime<Utc>) -> Result<(), NotAnyMore> {
    users::hold_alone(connection, caller.user)
        .await?
        .ok_or(NotAnyMore::NotSignedIn)?;
    if !sessions::hold(connection, caller.user, caller.session, now).await? {
        return Err(NotAnyMore::NotSignedIn);
    }
    let state = sessions::find_state(connection, caller.session, caller.user).await?;
    let state = state.ok_or(NotAnyMore::NotSignedIn)?;
    if state.suspended {
        return Err(NotAnyMore::Suspended);
    }
    // A new password replaces the tokens.
    if state.oldest_generation > caller.oldest_generation {
        return Err(NotAnyMore::NotSignedIn);
    }
    Ok(())
}
