//! Enqueueing and cancelling, both inside the caller's transaction.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Row};

use crate::{Job, JobId, QueueError};

/// The channel on which waiting workers are woken. apalis' insert trigger has its own.
pub(crate) const WAKE_CHANNEL: &str = "cura_queue_wake";
/// The channel that names running jobs to be cancelled.
pub(crate) const CANCEL_CHANNEL: &str = "cura_queue_cancel";
/// The key in a job's metadata that names the queue of its heir.
pub(crate) const HEIR: &str = "on_death";
/// The key in a job's metadata that says somebody wants it cancelled.
pub(crate) const CANCEL: &str = "cancel";

/// What enqueueing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enqueued {
    /// A new job, ready when the transaction commits.
    New(JobId),
    /// A job with this key is there already; nothing was changed.
    Known,
}

/// What cancelling did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The job had not started and never will.
    BeforeStart,
    /// The job is running; its run is told when the transaction commits.
    Signalled,
    /// There is no such job, or it is over.
    TooLate,
}

/// Enqueues `job`, to run at `at` or at once, if the transaction of `conn` commits. One INSERT; apalis' trigger tells the
/// workers at COMMIT.
///
/// # Errors
/// When Postgres fails.
pub async fn enqueue<J: Job>(
    conn: &mut PgConnection,
    job: &J,
    at: Option<DateTime<Utc>>,
) -> Result<Enqueued, QueueError> {
    let row = sqlx::query(
        "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, priority, idempotency_key, metadata)
         VALUES (apalis.generate_ulid(), $1, $2, 'Pending', 0, $3, COALESCE($4, now()), 0, $5,
                 CASE WHEN $6::text IS NOT NULL THEN hstore($7, $6) END)
         ON CONFLICT (job_type, idempotency_key) DO NOTHING
         RETURNING id",
    )
    .bind(serde_json::to_vec(job)?)
    .bind(J::QUEUE)
    .bind(i32::try_from(J::MAX_ATTEMPTS).unwrap_or(i32::MAX))
    .bind(at)
    .bind(job.key())
    .bind(J::ON_DEATH)
    .bind(HEIR)
    .fetch_optional(conn)
    .await?;
    Ok(match row {
        Some(row) => Enqueued::New(row.try_get(0)?),
        None => Enqueued::Known,
    })
}

/// Whether a job of queue `J` with one of these keys is running.
///
/// # Errors
/// When Postgres fails.
pub async fn is_any_running<J: Job>(conn: &mut PgConnection, keys: &[String]) -> Result<bool, QueueError> {
    let row = sqlx::query(
        "SELECT EXISTS (SELECT 1 FROM apalis.jobs WHERE job_type = $1 AND idempotency_key = ANY($2) AND status = 'Running')",
    )
    .bind(J::QUEUE)
    .bind(keys)
    .fetch_one(conn)
    .await?;
    Ok(row.try_get(0)?)
}

/// Cancels the job of queue `J` with this key, if the transaction of `conn` commits.
///
/// # Errors
/// When Postgres fails.
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
    .bind(CANCEL)
    .bind(CANCEL_CHANNEL)
    .fetch_optional(conn)
    .await?;
    Ok(match row {
        None => Cancelled::TooLate,
        Some(row) if row.try_get::<String, _>(1)? == "Running" => Cancelled::Signalled,
        Some(_) => Cancelled::BeforeStart,
    })
}
