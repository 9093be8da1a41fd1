//! Paused queues: no worker claims their jobs until they are resumed. A row for each, so that a restart changes nothing.
//!
//! Workers read the rows with every heartbeat, and at once when a trigger of the table tells them: a change is obeyed within two
//! seconds. A job that was claimed before runs to its end.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, Row};

use crate::error::QueueError;

/// A paused queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PausedQueue {
    /// Its name.
    pub queue: String,
    /// Why, in an operator's words.
    pub reason: String,
    /// Who has paused it.
    pub operator: String,
    /// Since when.
    pub paused_at: DateTime<Utc>,
}

/// Pauses a queue. `false` if it was paused before: then the reason is the new one, and the time stays.
pub async fn pause(
    conn: &mut PgConnection,
    queue: &str,
    reason: &str,
    operator: &str,
    now: DateTime<Utc>,
) -> Result<bool, QueueError> {
    let row = sqlx::query(
        "INSERT INTO paused_queues (queue, reason, operator, paused_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (queue) DO UPDATE SET reason = EXCLUDED.reason, operator = EXCLUDED.operator
         RETURNING xmax = 0",
    )
    .bind(queue)
    .bind(reason)
    .bind(operator)
    .bind(now)
    .fetch_one(conn)
    .await?;
    Ok(row.try_get(0)?)
}

/// Lets workers claim the jobs of a queue again. `false` if it was not paused.
pub async fn resume(conn: &mut PgConnection, queue: &str) -> Result<bool, QueueError> {
    let deleted = sqlx::query("DELETE FROM paused_queues WHERE queue = $1")
        .bind(queue)
        .execute(conn)
        .await?;
    Ok(deleted.rows_affected() > 0)
}

/// Every paused queue, by name.
pub async fn list_paused(conn: &mut PgConnection) -> Result<Vec<PausedQueue>, QueueError> {
    let rows = sqlx::query("SELECT queue, reason, operator, paused_at FROM paused_queues ORDER BY queue")
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(PausedQueue {
                queue: row.try_get(0)?,
                reason: row.try_get(1)?,
                operator: row.try_get(2)?,
                paused_at: row.try_get(3)?,
            })
        })
        .collect()
}
