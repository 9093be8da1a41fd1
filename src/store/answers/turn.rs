//! Whose turn it is: answers of one conversation start in order, and a limited number of one user run at a time. Found out
//! without locks, so it may have changed a moment later. [`take`](super::take) holds itself to the same rule.

use chrono::{DateTime, Utc};
use cura_domain::MessageId;
use sqlx::PgConnection;

use crate::StoreError;

/// Where an unfinished answer stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// When the question was stored.
    pub(super) asked_at: DateTime<Utc>,
    /// Whether it may start, has started, or is to be cancelled.
    pub(super) has_come: bool,
}

/// Whether an unfinished answer may start, as far as others have committed. Locks and writes nothing, and reads no more of the
/// user's answers than may run. `None` when it is final or deleted.
pub(super) async fn find_turn(
    conn: &mut PgConnection,
    id: MessageId,
    max_running: u32,
) -> Result<Option<Turn>, StoreError> {
    Ok(sqlx::query_as!(
        Turn,
        r#"SELECT m.created_at AS asked_at,
                  (m.attempt > 0 AND m.attempt IS DISTINCT FROM m.retried_after) OR m.cancel_requested_at IS NOT NULL OR (
                      NOT EXISTS (SELECT 1 FROM messages e
                                  WHERE e.user_id = m.user_id AND e.conversation_id = m.conversation_id AND e.running
                                    AND e.id < m.id)
                      AND ($2::bigint = 0 OR $2 > (SELECT count(*) FROM (
                          SELECT 1 FROM messages r WHERE r.user_id = m.user_id AND r.running AND r.attempt > 0 AND r.attempt IS DISTINCT FROM r.retried_after
                          LIMIT $2) r))) AS "has_come!"
           FROM messages m JOIN conversations c ON c.id = m.conversation_id
           WHERE m.id = $1 AND m.status = 'sending' AND c.deleted_at IS NULL"#,
        id.0,
        i64::from(max_running),
    )
    .fetch_optional(conn)
    .await?)
}

/// Records when this answer became eligible to start and returns that time. `None` if the caller should start an attempt,
/// which reports why: the answer is final, deleted, to be cancelled, or not eligible yet.
pub async fn record_eligible(
    conn: &mut PgConnection,
    id: MessageId,
    max_running: u32,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let since = sqlx::query_scalar!(
        r#"UPDATE messages m SET started_at = COALESCE(started_at, $2)
           WHERE m.id = $1 AND m.status = 'sending' AND m.cancel_requested_at IS NULL AND (m.started_at IS NOT NULL OR (
               NOT EXISTS (SELECT 1 FROM messages e
                           WHERE e.user_id = m.user_id AND e.conversation_id = m.conversation_id AND e.running
                               AND e.id < m.id)
               AND ($3::bigint = 0 OR $3 > (SELECT count(*) FROM (
                   SELECT 1 FROM messages r WHERE r.user_id = m.user_id AND r.running AND r.attempt > 0 AND r.attempt IS DISTINCT FROM r.retried_after LIMIT $3) r))))
           RETURNING m.started_at AS "started_at!""#,
        id.0,
        now,
        i64::from(max_running),
    )
    .fetch_optional(conn)
    .await?;
    Ok(since)
}

/// Whether an answer has become eligible to start, whether it has started or not.
pub async fn was_eligible(conn: &mut PgConnection, id: MessageId) -> Result<bool, StoreError> {
    let eligible = sqlx::query_scalar!(
        r#"SELECT started_at IS NOT NULL AS "came!" FROM messages WHERE id = $1"#,
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(eligible.unwrap_or(false))
}
