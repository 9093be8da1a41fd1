//! Lists of answers: those that may start, run, are stale, or may still be in `live`.

use chrono::{DateTime, Utc};
use cura_domain::file::MAX_WAIT_FOR_SCANS;
use cura_domain::{ConversationId, MessageId, UserId};
use sqlx::PgConnection;

use crate::StoreError;

/// The answers of `user` that may start: they have not, and are the first unfinished ones of their conversation. No more than
/// `max_running` leaves room for (0: no limit), and at most 16. One that waits for a scan is none of them: it would take the turn of
/// another that can start.
pub async fn list_startable(
    conn: &mut PgConnection,
    user: UserId,
    max_running: u32,
) -> Result<Vec<MessageId>, StoreError> {
    let startable = sqlx::query_scalar!(
        r#"WITH started AS MATERIALIZED (
               SELECT count(*) AS count FROM (
                   SELECT 1 FROM messages r WHERE r.user_id = $1 AND r.running AND r.attempt > 0 AND r.attempt IS DISTINCT FROM r.retried_after LIMIT $2) r
           )
           SELECT m.id FROM messages m
           WHERE m.user_id = $1 AND m.running AND m.attempt = 0
             AND (m.created_at < now() - make_interval(secs => $3) OR (
                 SELECT count(*) FROM message_files a JOIN files f ON f.id = a.file_id
                 WHERE a.message_id = m.parent_id AND f.status = 'scanning') = 0)
             AND NOT EXISTS (SELECT 1 FROM messages e
                             WHERE e.user_id = m.user_id AND e.conversation_id = m.conversation_id AND e.running
                               AND e.id < m.id)
           ORDER BY m.id + 0
           LIMIT (SELECT CASE WHEN $2 = 0 THEN 16 ELSE LEAST(16, $2 - count) END FROM started)"#,
        user.0,
        i64::from(max_running),
        MAX_WAIT_FOR_SCANS.as_seconds_f64(),
    )
    .fetch_all(conn)
    .await?;
    Ok(startable.into_iter().map(MessageId).collect())
}

/// The unfinished answers of `user`, by ascending id.
pub async fn list_running(conn: &mut PgConnection, user: UserId) -> Result<Vec<MessageId>, StoreError> {
    let running = sqlx::query_scalar!(
        r#"SELECT m.id FROM messages m JOIN conversations c ON c.id = m.conversation_id
           WHERE m.user_id = $1 AND m.running AND c.deleted_at IS NULL ORDER BY m.id + 0"#,
        user.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(running.into_iter().map(MessageId).collect())
}

/// Unfinished answers after `after` that have not changed since `since`, at most 100: their job waits long, was discarded,
/// or was lost with a backup.
pub async fn list_stale(
    conn: &mut PgConnection,
    since: DateTime<Utc>,
    after: MessageId,
) -> Result<Vec<MessageId>, StoreError> {
    let stale = sqlx::query_scalar!(
        "SELECT id FROM messages WHERE running AND updated_at < $1 AND id > $2 ORDER BY id LIMIT 100",
        since,
        after.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(stale.into_iter().map(MessageId).collect())
}

/// The answers of `user` that changed after `since`: their texts may still be in `live`.
pub async fn list_recent(
    conn: &mut PgConnection,
    user: UserId,
    since: DateTime<Utc>,
) -> Result<Vec<MessageId>, StoreError> {
    let recent = sqlx::query_scalar!(
        "SELECT id FROM messages WHERE user_id = $1 AND role = 'assistant' AND updated_at > $2",
        user.0,
        since,
    )
    .fetch_all(conn)
    .await?;
    Ok(recent.into_iter().map(MessageId).collect())
}

/// The answers of a deleted conversation that changed after `since`: their texts may still be in `live`.
pub async fn list_recent_deleted(
    conn: &mut PgConnection,
    id: ConversationId,
    since: DateTime<Utc>,
) -> Result<Vec<MessageId>, StoreError> {
    let recent = sqlx::query_scalar!(
        r#"SELECT m.id FROM messages m JOIN conversations c ON c.id = m.conversation_id
           WHERE m.conversation_id = $1 AND c.deleted_at IS NOT NULL AND m.role = 'assistant' AND m.updated_at > $2"#,
        id.0,
        since,
    )
    .fetch_all(conn)
    .await?;
    Ok(recent.into_iter().map(MessageId).collect())
}
