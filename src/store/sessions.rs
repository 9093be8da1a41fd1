//! Sessions: the places a user is signed in, each with exactly one refresh token that works.

use chrono::{DateTime, Utc};
use cura_domain::session::Session;
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
    /// What the token that works was made from, with the signing key.
    pub current_seed: Option<Vec<u8>>,
    /// The token that the current one replaced.
    pub previous_token: Option<Vec<u8>>,
    /// When `previous_token` was replaced.
    pub rotated_at: Option<DateTime<Utc>>,
    /// When the session ends by itself.
    pub expires_at: DateTime<Utc>,
    /// Whether it was ended.
    pub ended: bool,
    /// Whether the user is suspended.
    pub suspended: bool,
}

/// SHA-256 of a ticket.
pub type TicketHash = [u8; 32];

/// What a refresh token of ours is made from: random bytes.
pub type TokenSeed = [u8; 32];

/// A refresh token as it is kept.
#[derive(Debug, Clone, Copy)]
pub struct StoredToken {
    /// Its hash.
    pub hash: TokenHash,
    /// What it was made from.
    pub seed: TokenSeed,
}

/// Whether a session may be used, and when its user was seen last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether the account is suspended.
    pub suspended: bool,
    /// When its user was last active.
    pub last_seen: Option<DateTime<Utc>>,
}

/// Opens a session with its first refresh token.
///
/// # Errors
/// When Postgres fails.
pub async fn insert(
    conn: &mut PgConnection,
    user: UserId,
    device_name: Option<&str>,
    token: &StoredToken,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<SessionId, StoreError> {
    let id = sqlx::query_scalar!(
        r#"WITH session AS (
               INSERT INTO sessions (user_id, device_name, current_token, created_at, last_used_at, expires_at, current_seed)
               VALUES ($1, $2, $3, $4, $4, $5, $6)
               RETURNING id
           ), token AS (
               INSERT INTO refresh_tokens (token_hash, session_id, created_at) SELECT $3, id, $4 FROM session
           )
           SELECT id AS "id!" FROM session"#,
        user.0,
        device_name,
        token.hash.as_slice(),
        now,
        expires_at,
        token.seed.as_slice(),
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
        r#"SELECT s.id, s.user_id, s.current_token, s.current_seed, s.previous_token, s.rotated_at, s.expires_at,
                  s.ended_at IS NOT NULL AS "ended!", u.suspended_at IS NOT NULL AS "suspended!"
           FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id JOIN users u ON u.id = s.user_id
           WHERE t.token_hash = $1 AND u.erased_at IS NULL
           FOR UPDATE OF s"#,
        token.as_slice(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| LockedSession {
        id: SessionId(row.id),
        user_id: UserId(row.user_id),
        current_token: row.current_token,
        current_seed: row.current_seed,
        previous_token: row.previous_token,
        rotated_at: row.rotated_at,
        expires_at: row.expires_at,
        ended: row.ended,
        suspended: row.suspended,
    }))
}

/// Makes `next` the only token that works; the one it replaces is remembered with this moment.
///
/// # Errors
/// When Postgres fails.
pub async fn rotate(
    conn: &mut PgConnection,
    session: SessionId,
    next: &StoredToken,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"WITH token AS (
               INSERT INTO refresh_tokens (token_hash, session_id, created_at) VALUES ($2, $1, $4)
           )
           UPDATE sessions
           SET previous_token = current_token, rotated_at = $4, current_token = $2, current_seed = $3,
               last_used_at = $4, expires_at = $5
           WHERE id = $1"#,
        session.0,
        next.hash.as_slice(),
        next.seed.as_slice(),
        now,
        expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends a session; idempotent.
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

/// Ends a session of `user`; `false` when they have no such session that lives.
///
/// # Errors
/// When Postgres fails.
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

/// Ends every session of `user`, except `spared`.
///
/// # Errors
/// When Postgres fails.
pub async fn end_all(
    conn: &mut PgConnection,
    user: UserId,
    spared: Option<SessionId>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE sessions SET ended_at = $3 WHERE user_id = $1 AND id IS DISTINCT FROM $2 AND ended_at IS NULL",
        user.0,
        spared.map(|session| session.0),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends what a user has beyond the `keep` sessions that were used last.
///
/// # Errors
/// When Postgres fails.
pub async fn end_beyond(
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

/// The sessions of `user` that live, the last used first, at most `limit`.
///
/// # Errors
/// When Postgres fails.
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

/// How a session stands that an access token names; `None` when it has ended or never was.
///
/// # Errors
/// When Postgres fails.
pub async fn standing(
    conn: &mut PgConnection,
    session: SessionId,
    user: UserId,
) -> Result<Option<Standing>, StoreError> {
    Ok(sqlx::query_as!(
        Standing,
        r#"SELECT u.suspended_at IS NOT NULL AS "suspended!", u.last_seen
           FROM sessions s JOIN users u ON u.id = s.user_id
           WHERE s.id = $1 AND s.user_id = $2 AND s.ended_at IS NULL AND u.erased_at IS NULL"#,
        session.0,
        user.0,
    )
    .fetch_optional(conn)
    .await?)
}

/// Which of `sessions` may no longer be used.
///
/// # Errors
/// When Postgres fails.
pub async fn ended_among(conn: &mut PgConnection, sessions: &[i64]) -> Result<Vec<SessionId>, StoreError> {
    let ended = sqlx::query_scalar!(
        r#"SELECT asked.id AS "id!" FROM unnest($1::bigint[]) AS asked (id)
           WHERE NOT EXISTS (
               SELECT 1 FROM sessions s JOIN users u ON u.id = s.user_id
               WHERE s.id = asked.id AND s.ended_at IS NULL AND u.suspended_at IS NULL
                     AND u.erased_at IS NULL
           )"#,
        sessions,
    )
    .fetch_all(conn)
    .await?;
    Ok(ended.into_iter().map(SessionId).collect())
}

/// Keeps a ticket until it is used or expires.
///
/// # Errors
/// When Postgres fails.
pub async fn insert_ticket(
    conn: &mut PgConnection,
    ticket: &TicketHash,
    user: UserId,
    session: SessionId,
    expires_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO tickets (ticket_hash, user_id, session_id, expires_at) VALUES ($1, $2, $3, $4)",
        ticket.as_slice(),
        user.0,
        session.0,
        expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Uses a ticket up; gives whose it was, `None` when it was used before, has expired, or never was.
///
/// # Errors
/// When Postgres fails.
pub async fn take_ticket(
    conn: &mut PgConnection,
    ticket: &TicketHash,
    now: DateTime<Utc>,
) -> Result<Option<(UserId, SessionId)>, StoreError> {
    let row = sqlx::query!(
        "DELETE FROM tickets WHERE ticket_hash = $1 AND expires_at > $2 RETURNING user_id, session_id",
        ticket.as_slice(),
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (UserId(row.user_id), SessionId(row.session_id))))
}
