//! Sessions: where a user is signed in. Each has exactly one newest generation of tokens.

mod rotation;

use chrono::{DateTime, Utc};
use cura_domain::session::Session;
use cura_domain::{SessionId, UserId};
use sqlx::PgConnection;

use crate::StoreError;

pub use rotation::{LockedSession, Rotation, TokenHash, lock, lock_by_token, lock_owned, rotate};

/// A session's random bytes, which its refresh tokens contain.
pub type SessionSeed = [u8; 16];

/// What decides whether a session authenticates a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionState {
    /// Whether the account is suspended.
    pub suspended: bool,
    /// When the user was last seen.
    pub last_seen: Option<DateTime<Utc>>,
    /// When the session expires, unless it is refreshed.
    pub expires_at: DateTime<Utc>,
    /// The newest generation of tokens that was given out.
    pub generation: i32,
    /// Tokens of generations before this one are dead.
    pub oldest_generation: i32,
    /// Whether a token of the newest generation was presented.
    pub generation_used: bool,
}

/// Opens a session, whose tokens are of generation 0.
pub async fn insert(
    conn: &mut PgConnection,
    user: UserId,
    device_name: Option<&str>,
    seed: &SessionSeed,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<SessionId, StoreError> {
    let id = sqlx::query_scalar!(
        r#"INSERT INTO sessions (user_id, device_name, seed, created_at, last_used_at, expires_at)
           VALUES ($1, $2, $3, $4, $4, $5)
           RETURNING id"#,
        user.0,
        device_name,
        seed.as_slice(),
        now,
        expires_at,
    )
    .fetch_one(conn)
    .await?;
    Ok(SessionId(id))
}

/// Records that `generation` of a session's tokens was presented, if it is the newest, and that the user was seen, unless it was
/// seen after `stale`.
pub async fn record_use(
    conn: &mut PgConnection,
    session: SessionId,
    user: UserId,
    generation: Option<i32>,
    now: DateTime<Utc>,
    stale: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"WITH used AS (
               UPDATE sessions SET generation_used = true WHERE id = $1 AND generation = $3 AND NOT generation_used
           )
           UPDATE users SET last_seen = $4 WHERE id = $2 AND (last_seen IS NULL OR last_seen <= $5)"#,
        session.0,
        user.0,
        generation,
        now,
        stale,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends a session; idempotent.
pub async fn end(conn: &mut PgConnection, session: SessionId, now: DateTime<Utc>) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE sessions SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL",
        session.0,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends a session of `user`; `false` when the user has no such active session.
pub async fn end_owned(
    conn: &mut PgConnection,
    user: UserId,
    session: SessionId,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "UPDATE sessions SET ended_at = $3 WHERE id = $1 AND user_id = $2 AND ended_at IS NULL AND expires_at > $3",
        session.0,
        user.0,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends every session of `user` except `spared`; gives how many.
pub async fn end_all(
    conn: &mut PgConnection,
    user: UserId,
    spared: Option<SessionId>,
    now: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let ended = sqlx::query!(
        "UPDATE sessions SET ended_at = $3 WHERE user_id = $1 AND id IS DISTINCT FROM $2 AND ended_at IS NULL",
        user.0,
        spared.map(|session| session.0),
        now
    )
    .execute(conn)
    .await?;
    Ok(ended.rows_affected())
}

/// Ends the sessions of `user` whose device has this name.
pub async fn end_named(
    conn: &mut PgConnection,
    user: UserId,
    device_name: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE sessions SET ended_at = $3 WHERE user_id = $1 AND device_name = $2 AND ended_at IS NULL",
        user.0,
        device_name,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends all but the `keep` most recently used sessions of `user`.
pub async fn end_oldest_beyond(
    conn: &mut PgConnection,
    user: UserId,
    keep: i64,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"UPDATE sessions SET ended_at = $3 WHERE id IN (
               SELECT id FROM sessions WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $3
               ORDER BY last_used_at DESC, id DESC OFFSET $2)"#,
        user.0,
        keep,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The active sessions of `user`, most recently used first, at most `limit`.
pub async fn list(
    conn: &mut PgConnection,
    user: UserId,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Session>, StoreError> {
    Ok(sqlx::query_as!(
        Session,
        r#"SELECT id, device_name, created_at, last_used_at, expires_at FROM sessions
           WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $2
           ORDER BY last_used_at DESC, id DESC LIMIT $3"#,
        user.0,
        now,
        limit,
    )
    .fetch_all(conn)
    .await?)
}

/// The state of an active session; `None` when it has ended or never existed.
pub async fn find_state(
    conn: &mut PgConnection,
    session: SessionId,
    user: UserId,
) -> Result<Option<SessionState>, StoreError> {
    Ok(sqlx::query_as!(
        SessionState,
        r#"SELECT u.suspended_at IS NOT NULL AS "suspended!", u.last_seen, s.expires_at, s.generation,
                  s.oldest_generation, s.generation_used
           FROM sessions s JOIN users u ON u.id = s.user_id
           WHERE s.id = $1 AND s.user_id = $2 AND s.ended_at IS NULL AND u.erased_at IS NULL"#,
        session.0,
        user.0,
    )
    .fetch_optional(conn)
    .await?)
}

/// Whether a session of `user` is active, had no new password since this generation of its tokens, and is that of an admin who can sign in.
pub async fn is_admins(
    conn: &mut PgConnection,
    session: SessionId,
    user: UserId,
    oldest_generation: i32,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let found = sqlx::query_scalar!(
        "SELECT s.id FROM sessions s JOIN users u ON u.id = s.user_id
         WHERE s.id = $1 AND s.user_id = $2 AND s.ended_at IS NULL AND s.expires_at > $4 AND s.oldest_generation <= $3
           AND u.is_admin AND u.suspended_at IS NULL AND u.erased_at IS NULL",
        session.0,
        user.0,
        oldest_generation,
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.is_some())
}

/// Holds a session of `user` as it is until the transaction ends; `false` when it has ended or expired. A session that ends at this
/// moment waits, and takes what was registered along.
pub async fn hold(
    conn: &mut PgConnection,
    user: UserId,
    session: SessionId,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let held = sqlx::query_scalar!(
        "SELECT id FROM sessions WHERE id = $1 AND user_id = $2 AND ended_at IS NULL AND expires_at > $3 FOR SHARE",
        session.0,
        user.0,
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(held.is_some())
}

/// The sessions among `sessions` that have ended, or whose account is suspended or erased, as `None`; and the oldest living
/// generation of those that had a new password.
pub async fn list_changed(
    conn: &mut PgConnection,
    sessions: &[i64],
) -> Result<Vec<(SessionId, Option<i32>)>, StoreError> {
    let changed = sqlx::query!(
        r#"SELECT asked.id AS "id!", living.oldest_generation AS "oldest_generation?"
           FROM unnest($1::bigint[]) AS asked (id)
           LEFT JOIN LATERAL (
               SELECT s.oldest_generation FROM sessions s JOIN users u ON u.id = s.user_id
               WHERE s.id = asked.id AND s.ended_at IS NULL AND u.suspended_at IS NULL
                     AND u.erased_at IS NULL
           ) AS living ON true
           WHERE living.oldest_generation IS DISTINCT FROM 0"#,
        sessions,
    )
    .fetch_all(conn)
    .await?;
    let changed = changed.into_iter();
    Ok(changed.map(|row| (SessionId(row.id), row.oldest_generation)).collect())
}
