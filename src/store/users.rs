//! Users: their credentials and their profiles.

mod known;
mod standing;

use chrono::{DateTime, Utc};
use cura_domain::UserId;
use cura_domain::user::User;
use sqlx::PgConnection;

use crate::StoreError;
use crate::known_places::PlaceHash;

pub use known::{
    KnownUsers, MAX_COUNTED, count_known, find_known, list_known, list_known_answers, list_known_sessions,
};
pub use standing::{LockedAccount, lock_account, lock_admins, set_admin, set_password_hash, set_suspended};

/// What is checked when a user signs in.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The user.
    pub id: UserId,
    /// PHC string of the password.
    pub password_hash: String,
    /// Whether an operator has suspended the account.
    pub suspended: bool,
    /// Whether the user has signed in from the place of this try before.
    pub knows_place: bool,
}

/// Inserts a user, who was seen at `seen`; `None` when the address is taken.
pub async fn insert(
    conn: &mut PgConnection,
    email: &str,
    password_hash: &str,
    name: Option<&str>,
    seen: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Option<User>, StoreError> {
    let user = sqlx::query_as!(
        User,
        r#"INSERT INTO users (email, password_hash, name, created_at, updated_at, last_seen)
           VALUES ($1, $2, $3, $4, $4, $5)
           ON CONFLICT ON CONSTRAINT users_email_key DO NOTHING
           RETURNING id, email, name, avatar_url, preferences, timezone, language, last_seen, created_at"#,
        email,
        password_hash,
        name,
        now,
        seen,
    )
    .fetch_optional(conn)
    .await?;
    Ok(user)
}

/// The profile of a user.
pub async fn find(conn: &mut PgConnection, id: UserId) -> Result<Option<User>, StoreError> {
    let user = sqlx::query_as!(
        User,
        r#"SELECT id, email, name, avatar_url, preferences, timezone, language, last_seen, created_at
           FROM users WHERE id = $1"#,
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(user)
}

/// The user with this address.
pub async fn find_id(conn: &mut PgConnection, email: &str) -> Result<Option<UserId>, StoreError> {
    let id = sqlx::query_scalar!("SELECT id FROM users WHERE email = $1", email)
        .fetch_optional(conn)
        .await?;
    Ok(id.map(UserId))
}

/// Whether there is such a user, who may be being erased.
pub async fn exists(conn: &mut PgConnection, id: UserId) -> Result<bool, StoreError> {
    let found = sqlx::query_scalar!("SELECT id FROM users WHERE id = $1", id.0)
        .fetch_optional(conn)
        .await?;
    Ok(found.is_some())
}

/// The profile of a user, locked until the transaction ends.
pub async fn lock(conn: &mut PgConnection, id: UserId) -> Result<Option<User>, StoreError> {
    let user = sqlx::query_as!(
        User,
        r#"SELECT id, email, name, avatar_url, preferences, timezone, language, last_seen, created_at
           FROM users WHERE id = $1 AND erased_at IS NULL FOR NO KEY UPDATE"#,
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(user)
}

/// Updates the fields of a profile that a user can change.
pub async fn update_profile(conn: &mut PgConnection, user: &User, now: DateTime<Utc>) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE users SET name = $2, preferences = $3, timezone = $4, language = $5, updated_at = $6 WHERE id = $1",
        user.id.0,
        user.name,
        user.preferences,
        user.timezone,
        user.language,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A user whose row is locked until the end of the transaction: they cannot begin to erase the account meanwhile. In the
/// order of locks it comes before all that is theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldUser {
    id: UserId,
}

impl HeldUser {
    /// The user.
    pub const fn id(&self) -> UserId {
        self.id
    }
}

/// Holds a user beside others who do; `None` when the account is being erased.
pub async fn hold(conn: &mut PgConnection, id: UserId) -> Result<Option<HeldUser>, StoreError> {
    let held = sqlx::query_scalar!(
        "SELECT id FROM users WHERE id = $1 AND erased_at IS NULL FOR KEY SHARE",
        id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(held.map(|id| HeldUser { id: UserId(id) }))
}

/// Holds a user alone: concurrent checks of what they may still use wait until this transaction ends. `None` when the account
/// is being erased.
pub async fn hold_alone(conn: &mut PgConnection, id: UserId) -> Result<Option<HeldUser>, StoreError> {
    let held = sqlx::query_scalar!(
        "SELECT id FROM users WHERE id = $1 AND erased_at IS NULL FOR NO KEY UPDATE",
        id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(held.map(|id| HeldUser { id: UserId(id) }))
}

/// Whether an operator has suspended this account.
pub async fn is_suspended(conn: &mut PgConnection, user: HeldUser) -> Result<bool, StoreError> {
    let suspended = sqlx::query_scalar!(
        r#"SELECT suspended_at IS NOT NULL AS "suspended!" FROM users WHERE id = $1"#,
        user.id.0
    )
    .fetch_one(conn)
    .await?;
    Ok(suspended)
}

/// The bytes of the hashes, as a query takes them.
fn bytes(places: &[PlaceHash]) -> Vec<Vec<u8>> {
    places.iter().map(|place| place.to_vec()).collect()
}

/// The credentials of a user, locked until the transaction ends; `None` when the account is being erased.
pub async fn lock_credentials(
    conn: &mut PgConnection,
    id: UserId,
    places: &[PlaceHash],
) -> Result<Option<Credentials>, StoreError> {
    Ok(sqlx::query_as!(
        Credentials,
        r#"SELECT id, password_hash, suspended_at IS NOT NULL AS "suspended!",
                  EXISTS (SELECT FROM known_places k WHERE k.user_id = u.id AND k.place = ANY($2)) AS "knows_place!"
           FROM users u WHERE id = $1 AND erased_at IS NULL FOR NO KEY UPDATE OF u"#,
        id.0,
        &bytes(places),
    )
    .fetch_optional(conn)
    .await?)
}

/// The credentials of a user, and whether one of `places` is known; `None` when the account is being erased.
pub async fn find_own_credentials(
    conn: &mut PgConnection,
    id: UserId,
    places: &[PlaceHash],
) -> Result<Option<Credentials>, StoreError> {
    Ok(sqlx::query_as!(
        Credentials,
        r#"SELECT id, password_hash, suspended_at IS NOT NULL AS "suspended!",
                  EXISTS (SELECT FROM known_places k WHERE k.user_id = u.id AND k.place = ANY($2)) AS "knows_place!"
           FROM users u WHERE id = $1 AND erased_at IS NULL"#,
        id.0,
        &bytes(places),
    )
    .fetch_optional(conn)
    .await?)
}

/// The credentials of the user with this address, and whether one of `places` is known.
pub async fn find_credentials(
    conn: &mut PgConnection,
    email: &str,
    places: &[PlaceHash],
) -> Result<Option<Credentials>, StoreError> {
    Ok(sqlx::query_as!(
        Credentials,
        r#"SELECT id, password_hash, suspended_at IS NOT NULL AS "suspended!",
                  EXISTS (SELECT FROM known_places k WHERE k.user_id = u.id AND k.place = ANY($2)) AS "knows_place!"
           FROM users u WHERE email = $1"#,
        email,
        &bytes(places),
    )
    .fetch_optional(conn)
    .await?)
}

/// Replaces a password hash if it is still `old`; returns whether it was replaced.
pub async fn replace_password_hash(
    conn: &mut PgConnection,
    id: UserId,
    old: &str,
    new: &str,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "UPDATE users SET password_hash = $3, updated_at = $4 WHERE id = $1 AND password_hash = $2",
        id.0,
        old,
        new,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Begins the erasure of a user: the row keeps no personal data, and the address can be registered again. Waits for those who
/// hold the user; nobody can from here on. Other rows are erased later.
pub async fn begin_erasure(conn: &mut PgConnection, id: UserId, now: DateTime<Utc>) -> Result<(), StoreError> {
    sqlx::query!(
        r#"UPDATE users
           -- Not a valid address, because it has no @.
           SET email = 'erased:' || id, password_hash = '', name = NULL, avatar_url = NULL, preferences = '{}',
               timezone = 'UTC', language = 'en', last_seen = NULL, is_admin = false, erased_at = $2, updated_at = $2
           WHERE id = $1"#,
        id.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether the erasure of a user has begun.
pub async fn is_being_erased(conn: &mut PgConnection, id: UserId) -> Result<bool, StoreError> {
    let found = sqlx::query_scalar!("SELECT id FROM users WHERE id = $1 AND erased_at IS NOT NULL", id.0)
        .fetch_optional(conn)
        .await?;
    Ok(found.is_some())
}
