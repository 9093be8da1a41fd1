//! Old jobs are forgotten: done ones after a day, dead ones after a month, a batch at a time.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use crate::QueueError;

/// How long a done job is remembered. Its key keeps the same job from being enqueued again for as long.
const KEEP_DONE: TimeDelta = TimeDelta::hours(24);
/// How long a dead job is kept for the operator.
const KEEP_DEAD: TimeDelta = TimeDelta::days(30);
/// The most jobs forgotten in one statement.
const BATCH: i64 = 1000;

/// Forgets one batch; gives how many, fewer than a batch when nothing old is left.
///
/// # Errors
/// When Postgres fails.
pub async fn prune(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<u64, QueueError> {
    let done = sqlx::query(
        "DELETE FROM apalis.jobs WHERE id IN (
             SELECT id FROM apalis.jobs
             WHERE status IN ('Done', 'Killed') AND done_at < $1 AND (status = 'Done' OR done_at < $2)
             ORDER BY done_at LIMIT $3 FOR UPDATE SKIP LOCKED)",
    )
    .bind(now - KEEP_DONE)
    .bind(now - KEEP_DEAD)
    .bind(BATCH)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
