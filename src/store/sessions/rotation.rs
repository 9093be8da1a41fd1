//! Refreshing: a session is locked, and gets its next generation of tokens.

use chrono::{DateTime, Utc};
use cura_domain::{SessionId, UserId};
use sqlx::PgConnection;

use super::SessionSeed;
use crate::StoreError;

/// SHA-256 of a refresh token of the release before.
pub type TokenHash = [u8; 32];

/// A session for refreshing, locked until the transaction ends.
#[derive(Debug, Clone)]
pub struct LockedSession {
    /// The session.
    pub id: SessionId,
    /// Its user.
    pub user_id: UserId,
    /// When the user signed in.
    pub created_at: DateTime<Utc>,
    /// When the session expires, unless it is refreshed.
    pub expires_at: DateTime<Utc>,
    /// Whether it has ended.
    pub ended: bool,
    /// Whether the user is suspended.
    pub suspended: bool,
    /// The newest generation of tokens that was given out.
    pub generation: i32,
    /// Tokens of generations before this one are dead.
    pub oldest_generation: i32,
    /// Whether a token of the newest generation was presented.
    pub generation_used: bool,
    /// When the newest generation was given out; `None`: at the sign-in.
    pub rotated_at: Option<DateTime<Utc>>,
    /// What its refresh tokens contain; `None` when its refresh token is of the release before.
    pub seed: Option<Vec<u8>>,
    /// The hash of the valid refresh token of the release before.
    pub current_token: Option<Vec<u8>>,
    /// The hash of the last refresh token of the release before.
    pub previous_token: Option<Vec<u8>>,
}

/// The next generation of a session's tokens.
#[derive(Debug, Clone, Copy)]
pub struct Rotation {
    /// Its number.
    pub generation: i32,
    /// The session's seed; kept, unless the session has none yet.
    pub seed: SessionSeed,
    /// Tokens of generations before this one are dead from now on.
    pub oldest_generation: i32,
    /// When the session expires now, unless it is refreshed.
    pub expires_at: DateTime<Utc>,
}

/// Locks a session; `None` when it does not exist, or has other random bytes.
pub async fn lock(
    conn: &mut PgConnection,
    session: SessionId,
    seed: &SessionSeed,
) -> Result<Option<LockedSession>, StoreError> {
    Ok(sqlx::query_as!(
        LockedSession,
        r#"SELECT s.id, s.user_id, s.created_at, s.expires_at, s.ended_at IS NOT NULL AS "ended!",
                  u.suspended_at IS NOT NULL AS "suspended!", s.generation, s.oldest_generation, s.generation_used,
                  s.rotated_at, s.seed, s.current_token, s.previous_token
           FROM sessions s JOIN users u ON u.id = s.user_id
           WHERE s.id = $1 AND s.seed = $2 AND u.erased_at IS NULL
           FOR UPDATE OF s"#,
        session.0,
        seed.as_slice(),
    )
    .fetch_optional(conn)
    .await?)
}

/// Locks a session of `user`.
pub async fn lock_owned(
    conn: &mut PgConnection,
    session: SessionId,
    user: UserId,
) -> Result<Option<LockedSession>, StoreError> {
    Ok(sqlx::query_as!(
        LockedSession,
        r#"SELECT s.id, s.user_id, s.created_at, s.expires_at, s.ended_at IS NOT NULL AS "ended!",
                  u.suspended_at IS NOT NULL AS "suspended!", s.generation, s.oldest_generation, s.generation_used,
                  s.rotated_at, s.seed, s.current_token, s.previous_token
           FROM sessions s JOIN users u ON u.id = s.user_id
           WHERE s.id = $1 AND s.user_id = $2 AND u.erased_at IS NULL
           FOR UPDATE OF s"#,
        session.0,
        user.0,
    )
    .fetch_optional(conn)
    .await?)
}

/// Locks the session of a refresh token of the release before, valid or replaced.
pub async fn lock_by_token(conn: &mut PgConnection, token: &TokenHash) -> Result<Option<LockedSession>, StoreError> {
    Ok(sqlx::query_as!(
        LockedSession,
        r#"SELECT s.id, s.user_id, s.created_at, s.expires_at, s.ended_at IS NOT NULL AS "ended!",
                  u.suspended_at IS NOT NULL AS "suspended!", s.generation, s.oldest_generation, s.generation_used,
                  s.rotated_at, s.seed, s.current_token, s.previous_token
           FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id JOIN users u ON u.id = s.user_id
           WHERE t.token_hash = $1 AND u.erased_at IS NULL
           FOR UPDATE OF s"#,
        token.as_slice(),
    )
    .fetch_optional(conn)
    .await?)
}

/// Makes `next` the newest generation of a session's tokens. Its devices were seen, to the day.
pub async fn rotate(
    conn: &mut PgConnection,
    session: SessionId,
    next: &Rotation,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"WITH seen AS (
               UPDATE devices
               SET last_active = $5, is_active = is_active OR inactive_reason = 'unseen',
                   inactive_since = CASE WHEN inactive_reason = 'other_sender' THEN inactive_since END,
                   inactive_reason = NULLIF(inactive_reason, 'unseen')
               WHERE session_id = $1 AND last_active < $5::timestamptz - interval '1 day'
           )
           UPDATE sessions
           SET generation = $2, oldest_generation = $3, generation_used = false, seed = $4, rotated_at = $5,
               last_used_at = $5, expires_at = $6,
               -- What a session from before presented last; kept, because it may come back.
               previous_token = COALESCE(current_token, previous_token), current_token = NULL, current_seed = NULL
           WHERE id = $1"#,
        session.0,
        next.generation,
        next.oldest_generation,
        next.seed.as_slice(),
        now,
        next.expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}
