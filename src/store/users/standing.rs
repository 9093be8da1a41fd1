//! What operators change about an account: whether it is suspended, whether its user is an admin, and its password.

use chrono::{DateTime, Utc};
use cura_domain::UserId;
use sqlx::PgConnection;

use crate::StoreError;

/// An account whose row is locked until the end of the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockedAccount {
    /// Whether it is suspended.
    pub is_suspended: bool,
    /// Whether its user is an admin.
    pub is_admin: bool,
    /// Whether it is being erased.
    pub is_being_erased: bool,
}

/// Locks an account of anybody, also one that is being erased.
pub async fn lock_account(conn: &mut PgConnection, id: UserId) -> Result<Option<LockedAccount>, StoreError> {
    Ok(sqlx::query_as!(
        LockedAccount,
        r#"SELECT suspended_at IS NOT NULL AS "is_suspended!", is_admin, erased_at IS NOT NULL AS "is_being_erased!"
           FROM users WHERE id = $1 FOR NO KEY UPDATE"#,
        id.0,
    )
    .fetch_optional(conn)
    .await?)
}

/// Locks all admins, by ascending id, and returns those that can sign in: neither suspended nor being erased.
pub async fn lock_admins(conn: &mut PgConnection) -> Result<Vec<UserId>, StoreError> {
    let admins = sqlx::query!(
        r#"SELECT id, suspended_at IS NULL AND erased_at IS NULL AS "can_sign_in!"
           FROM users WHERE is_admin ORDER BY id + 0 FOR NO KEY UPDATE"#,
    )
    .fetch_all(conn)
    .await?;
    let able = admins.into_iter().filter(|admin| admin.can_sign_in);
    Ok(able.map(|admin| UserId(admin.id)).collect())
}

/// Suspends an account since `since`, or ends that. Triggers end its open streams and delete its devices.
pub async fn set_suspended(
    conn: &mut PgConnection,
    id: UserId,
    since: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE users SET suspended_at = $2, updated_at = $3 WHERE id = $1",
        id.0,
        since,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes a user an admin, or ends that.
pub async fn set_admin(
    conn: &mut PgConnection,
    id: UserId,
    is_admin: bool,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE users SET is_admin = $2, updated_at = $3 WHERE id = $1",
        id.0,
        is_admin,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Sets the hash of a password, whatever it was.
pub async fn set_password_hash(
    conn: &mut PgConnection,
    id: UserId,
    hash: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE users SET password_hash = $2, updated_at = $3 WHERE id = $1",
        id.0,
        hash,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
