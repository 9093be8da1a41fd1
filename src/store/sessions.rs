//! Sessions: where a user is signed in. Each has exactly one valid refresh token.

use chrono::{DateTime, Utc};
use cura_domain::session::Session;
use cura_domain::{SessionId, UserId};
use sqlx::PgConnection;

use crate::StoreError;

/// SHA-256 of a refresh token.
pub type TokenHash = [u8; 32];

/// A session for refreshing, locked until the transaction ends.
#[derive(Debug, Clone)]
pub struct LockedSession {
    /// The session.
    pub id: SessionId,
    /// Its user.
    pub user_id: UserId,
    /// The hash of the valid token.
    pub current_token: Vec<u8>,
    /// The seed from which the signing key derives the valid token.
    pub current_seed: Option<Vec<u8>>,
    /// The hash of the token that the valid one replaced.
    pub previous_token: Option<Vec<u8>>,
    /// When `previous_token` was replaced.
    pub rotated_at: Option<DateTime<Utc>>,
    /// When the session expires.
    pub expires_at: DateTime<Utc>,
    /// Whether it has ended.
    pub ended: bool,
    /// Whether the user is suspended.
    pub suspended: bool,
}

/// SHA-256 of a ticket.
pub type TicketHash = [u8; 32];

/// The random bytes from which a refresh token is derived.
pub type TokenSeed = [u8; 32];

/// A refresh token as it is stored.
#[derive(Debug, Clone, Copy)]
pub struct StoredToken {
    /// Its hash.
    pub hash: TokenHash,
    /// The seed from which it is derived.
    pub seed: TokenSeed,
}

/// What decides whether a session authenticates a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionState {
    /// Whether the account is suspended.
    pub suspended: bool,
    /// When the user was last seen.
    pub last_seen: Option<DateTime<Utc>>,
}

/// Opens a session with its first refresh token.
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

/// Locks the session of a refresh token, valid or replaced.
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

/// Makes `next` the only valid token; the replaced one is stored with the time of its replacement.
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

/// Ends every session of `user` except `spared`.
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
        r#"SELECT u.suspended_at IS NOT NULL AS "suspended!", u.last_seen
           FROM sessions s JOIN users u ON u.id = s.user_id
           WHERE s.id = $1 AND s.user_id = $2 AND s.ended_at IS NULL AND u.erased_at IS NULL"#,
        session.0,
        user.0,
    )
    .fetch_optional(conn)
    .await?)
}

/// The sessions among `sessions` that have ended, or whose account is suspended or erased.
pub async fn list_ended(conn: &mut PgConnection, sessions: &[i64]) -> Result<Vec<SessionId>, StoreError> {
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

/// Stores a ticket.
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

/// Deletes a ticket and returns its user and session; `None` when it was redeemed before, has expired, or never existed.
pub async fn redeem_ticket(
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
