//! Sessions: the places a user is signed in, each with exactly one refresh token that works.

use chrono::{DateTime, Utc};
use cura_domain::{SessionId, UserId};
use sqlx::PgConnection;

use crate::StoreError;

/// SHA-256 of a refresh token.
pub type TokenHash = [u8; 32];

/// A session as refreshing needs it, locked until the transaction ends.
#[derive(Debug, Clone)]
pub struct LockedSession {
    /// The session.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// The token that works.
    pub current_token: Vec<u8>,
    /// The token that the current one replaced.
    pub previous_token: Option<Vec<u8>>,
    /// When `previous_token` was replaced first.
    pub rotated_at: Option<DateTime<Utc>>,
    /// When the session ends by itself.
    pub expires_at: DateTime<Utc>,
    /// Whether it was ended.
    pub ended: bool,
    /// Whether the user is suspended.
    pub suspended: bool,
}

/// Whether a session may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Good,
    /// The account is suspended.
    Suspended,
}

/// Opens a session with its first refresh token.
///
/// # Errors
/// When Postgres fails.
pub async fn insert(
    conn: &mut PgConnection,
    user: UserId,
    device_name: Option<&str>,
    token: &TokenHash,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<SessionId, StoreError> {
    let id = sqlx::query_scalar!(
        r#"WITH session AS (
               INSERT INTO sessions (user_id, device_name, current_token, created_at, last_used_at, expires_at)
               VALUES ($1, $2, $3, $4, $4, $5)
               RETURNING id
           ), token AS (
               INSERT INTO refresh_tokens (token_hash, session_id, created_at) SELECT $3, id, $4 FROM session
           )
           SELECT id AS "id!" FROM session"#,
        user.0,
        device_name,
        token.as_slice(),
        now,
        expires_at,
    )
    .fetch_one(conn)
    .await?;
    Ok(SessionId(id))
}

/// Locks the session a refresh token was ever issued for, dead or alive.
///
/// # Errors
/// When Postgres fails.
pub async fn lock_by_token(conn: &mut PgConnection, token: &TokenHash) -> Result<Option<LockedSession>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT s.id, s.user_id, s.current_token, s.previous_token, s.rotated_at, s.expires_at,
                  s.ended_at IS NOT NULL AS "ended!", u.suspended_at IS NOT NULL AS "suspended!"
           FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id JOIN users u ON u.id = s.user_id
           WHERE t.token_hash = $1
           FOR UPDATE OF s"#,
        token.as_slice(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| LockedSession {
        id: SessionId(row.id),
        user_id: UserId(row.user_id),
        current_token: row.current_token,
        previous_token: row.previous_token,
        rotated_at: row.rotated_at,
        expires_at: row.expires_at,
        ended: row.ended,
        suspended: row.suspended,
    }))
}

/// Makes `next` the only token that works; `previous` is remembered with the moment it was replaced first.
///
/// # Errors
/// When Postgres fails.
pub async fn rotate(
    conn: &mut PgConnection,
    session: SessionId,
    previous: &[u8],
    rotated_at: DateTime<Utc>,
    next: &TokenHash,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"WITH token AS (
               INSERT INTO refresh_tokens (token_hash, session_id, created_at) VALUES ($2, $1, $5)
           )
           UPDATE sessions
           SET current_token = $2, previous_token = $3, rotated_at = $4, last_used_at = $5, expires_at = $6
           WHERE id = $1"#,
        session.0,
        next.as_slice(),
        previous,
        rotated_at,
        now,
        expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends a session and forgets its tokens' family; idempotent.
///
/// # Errors
/// When Postgres fails.
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

/// How a session stands that an access token names; `None` when it has ended or never was.
///
/// # Errors
/// When Postgres fails.
pub async fn standing(
    conn: &mut PgConnection,
    session: SessionId,
    user: UserId,
) -> Result<Option<Standing>, StoreError> {
    let suspended = sqlx::query_scalar!(
        r#"SELECT u.suspended_at IS NOT NULL AS "suspended!"
           FROM sessions s JOIN users u ON u.id = s.user_id
           WHERE s.id = $1 AND s.user_id = $2 AND s.ended_at IS NULL"#,
        session.0,
        user.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(suspended.map(|suspended| if suspended { Standing::Suspended } else { Standing::Good }))
}
