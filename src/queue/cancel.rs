//! Cancels jobs inside the caller's transaction: before they start, or by a signal to their run.
//!
//! A job that is cancelled with the words it works with has nothing left to do, and its handler finds that out. One that an operator
//! cancels ([`cancel_job`]) is not tried again, whatever its present run says; and because somebody may wait for what it was to do, its
//! on-failure job is enqueued, as when it is discarded.

use sqlx::{PgConnection, Row};

use crate::enqueue::JobOwner;
use crate::error::QueueError;
use crate::job::{Job, JobId};
use crate::notify_channels::{CANCEL_CHANNEL, WAKE_CHANNEL};
use crate::on_failure::enqueue_on_failure_jobs;

/// The key in a job's metadata that says it is to be cancelled.
pub(crate) const CANCEL_KEY: &str = "cancel";

/// Whether an operator has cancelled a job: a condition on its metadata.
macro_rules! cancelled_by_operator {
    () => {
        "COALESCE(metadata -> 'cancel' = 'operator', false)"
    };
    ($job:literal) => {
        concat!("COALESCE(", $job, ".metadata -> 'cancel' = 'operator', false)")
    };
}
pub(crate) use cancelled_by_operator;

/// What cancelling did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The job had not started and never will.
    BeforeStart,
    /// The job is running; its run is signalled when the transaction commits.
    Signalled,
    /// There is no such job, or it is over.
    TooLate,
}

/// Cancels the job of queue `J` with this key, if the transaction of `conn` commits.
pub async fn cancel<J: Job>(conn: &mut PgConnection, key: &str) -> Result<Cancelled, QueueError> {
    let row = sqlx::query(
        "UPDATE apalis.jobs
         SET status = CASE WHEN status = 'Running' THEN status ELSE 'Killed' END,
             done_at = CASE WHEN status = 'Running' THEN done_at ELSE now() END,
             last_result = CASE WHEN status = 'Running' THEN last_result ELSE '{\"Err\": \"cancelled before it started\"}' END,
             metadata = COALESCE(metadata, '') || hstore($3, '1')
         WHERE job_type = $1 AND idempotency_key = $2 AND status IN ('Pending', 'Running')
         RETURNING id, status, pg_notify($4, CASE WHEN status = 'Running' THEN id ELSE '' END)::text",
    )
    .bind(J::QUEUE)
    .bind(key)
    .bind(CANCEL_KEY)
    .bind(CANCEL_CHANNEL)
    .fetch_optional(conn)
    .await?;
    Ok(match row {
        None => Cancelled::TooLate,
        Some(row) if row.try_get::<String, _>(1)? == "Running" => Cancelled::Signalled,
        Some(_) => Cancelled::BeforeStart,
    })
}

/// Cancels every job of any queue that works with the words of `owner`, if the transaction of `conn` commits: those that
/// wait never start, and the runs of the others are signalled. The jobs are locked by ascending id.
pub async fn cancel_jobs_of(conn: &mut PgConnection, owner: JobOwner) -> Result<(), QueueError> {
    // The metadata's keys are those that `enqueue` writes; an index of ours is behind the first.
    sqlx::query(
        "UPDATE apalis.jobs
         SET status = CASE WHEN status = 'Running' THEN status ELSE 'Killed' END,
             done_at = CASE WHEN status = 'Running' THEN done_at ELSE now() END,
             last_result = CASE WHEN status = 'Running' THEN last_result ELSE '{\"Err\": \"cancelled before it started\"}' END,
             metadata = metadata || hstore($3, '1')
         WHERE id = ANY(ARRAY(
             SELECT id FROM apalis.jobs
             WHERE metadata -> 'user' = $1 AND status IN ('Pending', 'Running')
               AND ($2::text IS NULL OR metadata -> 'conversation' = $2)
             ORDER BY id FOR UPDATE))
           AND status IN ('Pending', 'Running')
         RETURNING pg_notify($4, CASE WHEN status = 'Running' THEN id ELSE '' END)::text",
    )
    .bind(owner.user.to_string())
    .bind(owner.conversation.map(|id| id.to_string()))
    .bind(CANCEL_KEY)
    .bind(CANCEL_CHANNEL)
    .execute(conn)
    .await?;
    Ok(())
}

/// Cancels this job for an operator, if the transaction of `conn` commits. One that has not started never starts. The run of one that
/// is running is signalled; when that ends without having completed the job, the job is cancelled instead of being tried again.
pub async fn cancel_job(conn: &mut PgConnection, id: &JobId) -> Result<Cancelled, QueueError> {
    let row = sqlx::query(concat!(
        "WITH cancelled AS (
             UPDATE apalis.jobs
             SET status = CASE WHEN status = 'Running' THEN status ELSE 'Killed' END,
                 done_at = CASE WHEN status = 'Running' THEN done_at ELSE now() END,
                 last_result = CASE WHEN status = 'Running' THEN last_result ELSE '{\"Err\": \"cancelled before it started\"}' END,
                 metadata = COALESCE(metadata, '') || hstore('cancel', 'operator')
             WHERE id = $1 AND status IN ('Pending', 'Running')
             RETURNING id, job, status, attempts, metadata
         ), on_failure AS (
             ",
        enqueue_on_failure_jobs!("cancelled"),
        "
         )
         SELECT status, pg_notify($2, CASE WHEN status = 'Running' THEN id ELSE '' END)::text,
                CASE WHEN EXISTS (SELECT FROM on_failure) THEN pg_notify($3, '')::text END
         FROM cancelled",
    ))
    .bind(id)
    .bind(CANCEL_CHANNEL)
    .bind(WAKE_CHANNEL)
    .fetch_optional(conn)
    .await?;
    Ok(match row {
        None => Cancelled::TooLate,
        Some(row) if row.try_get::<String, _>(0)? == "Running" => Cancelled::Signalled,
        Some(_) => Cancelled::BeforeStart,
    })
}
