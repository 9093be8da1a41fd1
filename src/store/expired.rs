//! Expired rows: deleted in batches, so that no statement holds locks for long.

use chrono::{DateTime, TimeDelta, Utc};
use cura_domain::{ConversationId, UserId};
use sqlx::PgConnection;

use crate::StoreError;

/// The most rows deleted by one statement.
pub const BATCH: u64 = 1000;
/// How long an idempotency key is valid (as the contract says), and an hour for requests that are using it.
const KEYS: TimeDelta = TimeDelta::hours(25);
/// How long an ended session is kept with its tokens, so that the reuse of one is recognized.
const SESSIONS: TimeDelta = TimeDelta::days(30);
/// How long events are kept, as the contract says.
const EVENTS: TimeDelta = TimeDelta::days(7);

/// A kind of row that expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// Tickets that were not redeemed.
    Tickets,
    /// Idempotency keys after their 24 hours.
    IdempotencyKeys,
    /// Sessions that ended or expired a month ago.
    Sessions,
    /// Archives after their hour.
    Exports,
    /// Events after their retention.
    Events,
}

impl Expired {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Tickets,
        Self::IdempotencyKeys,
        Self::Sessions,
        Self::Exports,
        Self::Events,
    ];

    /// Deletes one batch and returns the number of rows, which is below [`BATCH`] when none is left.
    pub async fn delete_expired(self, conn: &mut PgConnection, now: DateTime<Utc>) -> Result<u64, StoreError> {
        let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
        let done = match self {
            Self::Tickets => {
                sqlx::query!(
                    "DELETE FROM tickets WHERE ticket_hash IN (SELECT ticket_hash FROM tickets WHERE expires_at < $1 LIMIT $2)",
                    now,
                    limit
                )
                .execute(conn)
                .await?
            }
            Self::IdempotencyKeys => {
                sqlx::query!(
                    "DELETE FROM idempotency_keys WHERE (user_id, key) IN (
                         SELECT user_id, key FROM idempotency_keys WHERE created_at < $1 LIMIT $2)",
                    now - KEYS,
                    limit
                )
                .execute(conn)
                .await?
            }
            Self::Sessions => {
                sqlx::query!(
                    "DELETE FROM sessions WHERE id IN (
                         (SELECT id FROM sessions WHERE ended_at < $1 LIMIT $2)
                         UNION ALL (SELECT id FROM sessions WHERE expires_at < $1 LIMIT $2) LIMIT $2)",
                    now - SESSIONS,
                    limit
                )
                .execute(conn)
                .await?
            }
            Self::Exports => {
                sqlx::query!(
                    "DELETE FROM exports WHERE id IN (SELECT id FROM exports WHERE expires_at < $1 LIMIT $2)",
                    now,
                    limit
                )
                .execute(conn)
                .await?
            }
            Self::Events => {
                sqlx::query!(
                    "DELETE FROM events WHERE (user_id, seq) IN (
                         SELECT user_id, seq FROM events WHERE created_at < $1 LIMIT $2)",
                    now - EVENTS,
                    limit
                )
                .execute(conn)
                .await?
            }
        };
        Ok(done.rows_affected())
    }
}

/// Users whose erasure began before `since` and is not complete, at most 100.
pub async fn list_unerased(conn: &mut PgConnection, since: DateTime<Utc>) -> Result<Vec<UserId>, StoreError> {
    let left = sqlx::query_scalar!(
        "SELECT id FROM users WHERE erased_at < $1 ORDER BY erased_at LIMIT 100",
        since
    )
    .fetch_all(conn)
    .await?;
    Ok(left.into_iter().map(UserId).collect())
}

/// Conversations that were deleted before `since` and whose rows still exist, at most 100.
pub async fn list_unpurged(conn: &mut PgConnection, since: DateTime<Utc>) -> Result<Vec<ConversationId>, StoreError> {
    let left = sqlx::query_scalar!(
        "SELECT id FROM conversations WHERE deleted_at < $1 ORDER BY deleted_at LIMIT 100",
        since
    )
    .fetch_all(conn)
    .await?;
    Ok(left.into_iter().map(ConversationId).collect())
}
