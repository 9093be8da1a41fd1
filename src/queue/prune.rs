//! Deletes jobs that are over before their time, for operators: in batches, each a transaction of the caller's.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::cancel::CANCEL_KEY;
use crate::error::QueueError;
use crate::job_status::JobState;
use crate::retry::first_id_at;

/// Which jobs are deleted.
#[derive(Debug, Clone, Copy)]
pub struct OverJobs<'a> {
    /// Those of this queue; `None`: of any.
    pub queue: Option<&'a str>,
    /// Those that are done, dead or cancelled; no job that is in another state is ever deleted.
    pub state: JobState,
    /// Those that were over at this moment.
    pub before: DateTime<Utc>,
}

/// Deletes at most `limit` of these jobs, and gives how many: fewer than `limit` when no other is left. Jobs that another transaction
/// has locked are left alone.
pub async fn prune(conn: &mut PgConnection, which: &OverJobs<'_>, limit: i64) -> Result<u64, QueueError> {
    let (status, is_cancelled) = match which.state {
        JobState::Done => ("Done", None),
        JobState::Dead => ("Killed", Some(false)),
        JobState::Cancelled => ("Killed", Some(true)),
        JobState::Ready | JobState::Waiting | JobState::Running => return Ok(0),
    };
    // Of one queue in the order in which they were made, up to those that were made too late to be over by then; of all in the order in
    // which they were over: each has an index.
    let statement = if which.queue.is_some() {
        "DELETE FROM apalis.jobs WHERE id IN (
             SELECT id FROM apalis.jobs
             WHERE status IN ('Done', 'Killed') AND status = $1 AND done_at < $2 AND job_type = $3 AND id < $7
               AND ($4::bool IS NULL OR COALESCE(metadata ? $6, false) = $4)
             ORDER BY id LIMIT $5 FOR UPDATE SKIP LOCKED)"
    } else {
        "DELETE FROM apalis.jobs WHERE id IN (
             SELECT id FROM apalis.jobs
             WHERE status IN ('Done', 'Killed') AND status = $1 AND done_at < $2 AND $3::text IS NULL AND $7::text IS NOT NULL
               AND ($4::bool IS NULL OR COALESCE(metadata ? $6, false) = $4)
             ORDER BY done_at LIMIT $5 FOR UPDATE SKIP LOCKED)"
    };
    let deleted = sqlx::query(statement)
        .bind(status)
        .bind(which.before)
        .bind(which.queue)
        .bind(is_cancelled)
        .bind(limit)
        .bind(CANCEL_KEY)
        .bind(first_id_at(which.before))
        .execute(conn)
        .await?;
    Ok(deleted.rows_affected())
}
