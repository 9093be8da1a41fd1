//! Enqueueing and cancelling, both inside the caller's transaction.

use std::time::Duration;

use sqlx::{PgConnection, Row};
use ulid::Ulid;

use crate::{Job, JobId, QueueError, on_failure};

/// The channel on which waiting workers are woken. apalis' insert trigger has its own.
pub(crate) const WAKE_CHANNEL: &str = "cura_queue_wake";
/// The channel that names running jobs to be cancelled.
pub(crate) const CANCEL_CHANNEL: &str = "cura_queue_cancel";
/// The key in a job's metadata that says somebody wants it cancelled.
pub(crate) const CANCEL: &str = "cancel";

/// What enqueueing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enqueued {
    /// A new job, ready when the transaction commits.
    New(JobId),
    /// A job with this key is there already; nothing was changed.
    Duplicate,
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

/// When a job may run, and before which others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EnqueueOptions {
    /// Not before this long from now; [`make_ready`] makes it at once.
    pub after: Duration,
    /// The higher, the earlier among those that may run; 0 is usual.
    pub priority: i32,
}

/// Enqueues `job`, to run at once, if the transaction of `conn` commits. One INSERT; apalis' trigger tells the workers at
/// COMMIT.
///
/// # Errors
/// When Postgres fails.
pub async fn enqueue<J: Job>(conn: &mut PgConnection, job: &J) -> Result<Enqueued, QueueError> {
    enqueue_with(conn, job, EnqueueOptions::default()).await
}

/// Enqueues `job` for its turn, as [`enqueue`] does.
///
/// # Errors
/// When Postgres fails.
pub async fn enqueue_with<J: Job>(
    conn: &mut PgConnection,
    job: &J,
    options: EnqueueOptions,
) -> Result<Enqueued, QueueError> {
    // Made here: apalis' function costs every new connection some milliseconds, for the extension behind it.
    let id = Ulid::generate().to_string();
    let row = sqlx::query(
        "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, priority, idempotency_key, metadata)
         VALUES ($9, $1, $2, 'Pending', 0, $3, now() + make_interval(secs => $4), $8, $5,
                 CASE WHEN $6::text IS NOT NULL THEN hstore(ARRAY[$7, $6, $10, $11]) END)
         ON CONFLICT (job_type, idempotency_key) DO NOTHING
         RETURNING id",
    )
    .bind(serde_json::to_vec(job)?)
    .bind(J::QUEUE)
    .bind(i32::try_from(J::MAX_ATTEMPTS).unwrap_or(i32::MAX))
    .bind(options.after.as_secs_f64())
    .bind(job.key())
    .bind(J::ON_FAILURE.map(|heir| heir.queue))
    .bind(on_failure::QUEUE_KEY)
    .bind(options.priority)
    .bind(&id)
    .bind(on_failure::ATTEMPTS_KEY)
    .bind(J::ON_FAILURE.map(|heir| heir.max_attempts.to_string()))
    .fetch_optional(conn)
    .await?;
    Ok(match row {
        Some(row) => Enqueued::New(row.try_get(0)?),
        None => Enqueued::Duplicate,
    })
}

/// Lets waiting jobs of queue `J` with these keys run at once, if the transaction of `conn` commits.
///
/// The order among jobs: a transaction first cancels those of the conversation it has locked, then releases others, which
/// waits for nobody. A job somebody else has locked is being cancelled or released already; if that is rolled back, it
/// begins when its time comes, as if nobody had released it. The queue's own statements that change many jobs have no order;
/// they give up before a transaction of anybody else's has to.
///
/// # Errors
/// When Postgres fails.
pub async fn make_ready<J: Job>(conn: &mut PgConnection, keys: &[String]) -> Result<(), QueueError> {
    sqlx::query(
        "WITH released AS (
             UPDATE apalis.jobs SET run_at = now()
             WHERE id = ANY(ARRAY(SELECT id FROM apalis.jobs
                                  WHERE job_type = $1 AND idempotency_key = ANY($2) AND status = 'Pending' AND run_at > now()
                                  ORDER BY id FOR UPDATE SKIP LOCKED))
             RETURNING id
         )
         SELECT pg_notify($3, '')::text FROM released LIMIT 1",
    )
    .bind(J::QUEUE)
    .bind(keys)
    .bind(WAKE_CHANNEL)
    .execute(conn)
    .await?;
    Ok(())
}

/// The most jobs that are counted before one.
const MAX_POSITION: i64 = 1000;

/// The place of a job of queue `J` among those that could run if a worker had time for them, from 1, at most 1,001; `None`
/// when it is running, over, or may not run yet, or when there is no worker.
///
/// It is the order in which jobs are claimed, as priorities are at this moment: those that have waited for 15 s are given
/// the usual one every few seconds, and then come before jobs that were before them. Costs about as many reads as there are
/// jobs before this one.
///
/// # Errors
/// When Postgres fails.
pub async fn queue_position<J: Job>(conn: &mut PgConnection, key: &str) -> Result<Option<i64>, QueueError> {
    // Two ranges of the index that claims read; one condition with OR would read every pending job. Its whole predicate is
    // named, so that no other index fits and rows need not be looked at. No job of ours is ever 'Failed'.
    let row = sqlx::query(
        "SELECT 1 + higher.count + (
             SELECT count(*) FROM (
                 SELECT 1 FROM apalis.jobs o
                 WHERE o.job_type = j.job_type AND o.priority = j.priority AND o.run_at < j.run_at
                   AND (o.status = 'Pending' OR (o.status = 'Failed' AND o.attempts < o.max_attempts))
                 ORDER BY o.run_at LIMIT $3 - higher.count) earlier)
         FROM apalis.jobs j
         CROSS JOIN LATERAL (
             SELECT count(*) FROM (
                 SELECT 1 FROM apalis.jobs o
                 WHERE o.job_type = j.job_type AND o.priority > j.priority AND o.run_at <= now()
                   AND (o.status = 'Pending' OR (o.status = 'Failed' AND o.attempts < o.max_attempts))
                 ORDER BY o.priority DESC, o.run_at LIMIT $3) o) higher
         WHERE j.job_type = $1 AND j.idempotency_key = $2 AND j.status = 'Pending' AND j.run_at <= now()
           AND EXISTS (SELECT 1 FROM apalis.workers WHERE last_seen > now() - interval '5 seconds')",
    )
    .bind(J::QUEUE)
    .bind(key)
    .bind(MAX_POSITION)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// The keys among these whose job of queue `J` waits or runs.
///
/// # Errors
/// When Postgres fails.
pub async fn list_unfinished<J: Job>(conn: &mut PgConnection, keys: &[String]) -> Result<Vec<String>, QueueError> {
    let rows = sqlx::query(
        "SELECT idempotency_key FROM apalis.jobs
         WHERE job_type = $1 AND idempotency_key = ANY($2) AND status IN ('Pending', 'Running')",
    )
    .bind(J::QUEUE)
    .bind(keys)
    .fetch_all(conn)
    .await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
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
