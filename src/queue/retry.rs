//! Retries dead jobs for operators: attempts that were spent stay spent, and a job has as many more as its kind has.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Row};
use ulid::Ulid;

use crate::cancel::CANCEL_KEY;
use crate::enqueue::READY_KEY;
use crate::error::QueueError;
use crate::job::{Job, JobId};
use crate::notify_channels::WAKE_CHANNEL;

/// Which dead jobs of a queue are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadJobs<'a> {
    /// Their queue.
    pub queue: &'a str,
    /// Those that were made at this moment, or later.
    pub since: Option<DateTime<Utc>>,
    /// Those whose reason has this text in it.
    pub reason: Option<&'a str>,
}

/// Dead jobs at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadJobsCount {
    /// How many there are.
    pub count: i64,
    /// The last of them.
    pub last: Option<JobId>,
    /// When they were counted, by Postgres' clock.
    pub at: DateTime<Utc>,
}

/// A dead job that may be retried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadJob {
    /// Its id.
    pub id: JobId,
    /// Its key, by which its queue knows what it is about.
    pub key: String,
}

/// The least id of a job that was made at this moment.
pub(crate) fn first_id_at(moment: DateTime<Utc>) -> JobId {
    let milliseconds = u64::try_from(moment.timestamp_millis()).unwrap_or_default();
    Ulid::from_parts(milliseconds, 0).to_string()
}

/// How many of these jobs are dead, and the last of them. Those that die later are no part of it.
pub async fn count_dead(conn: &mut PgConnection, which: &DeadJobs<'_>) -> Result<DeadJobsCount, QueueError> {
    let row = sqlx::query(
        "SELECT count(*), max(id), now() FROM apalis.jobs
         WHERE job_type = $1 AND status = 'Killed' AND id >= $2 AND NOT COALESCE(metadata ? $4, false)
           AND ($3::text IS NULL OR strpos(last_result ->> 'Err', $3) > 0)",
    )
    .bind(which.queue)
    .bind(which.since.map(first_id_at).unwrap_or_default())
    .bind(which.reason)
    .bind(CANCEL_KEY)
    .fetch_one(conn)
    .await?;
    Ok(DeadJobsCount {
        count: row.try_get(0)?,
        last: row.try_get(1)?,
        at: row.try_get(2)?,
    })
}

/// The next of these jobs after `after`, up to and including `last`, by ascending id.
pub async fn list_dead(
    conn: &mut PgConnection,
    which: &DeadJobs<'_>,
    (after, last): (&str, &str),
    limit: i64,
) -> Result<Vec<DeadJob>, QueueError> {
    let rows = sqlx::query(
        "SELECT id, idempotency_key FROM apalis.jobs
         WHERE job_type = $1 AND status = 'Killed' AND id > $2 AND id >= $3 AND id <= $4 AND NOT COALESCE(metadata ? $6, false)
           AND ($5::text IS NULL OR strpos(last_result ->> 'Err', $5) > 0)
         ORDER BY id LIMIT $7",
    )
    .bind(which.queue)
    .bind(after)
    .bind(which.since.map(first_id_at).unwrap_or_default())
    .bind(last)
    .bind(which.reason)
    .bind(CANCEL_KEY)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(DeadJob {
                id: row.try_get(0)?,
                key: row.try_get::<Option<String>, _>(1)?.unwrap_or_default(),
            })
        })
        .collect()
}

/// Retries those of these jobs that are dead, since `died_by` or longer if that is given, if the transaction of `conn` commits: each begins after its delay, has `attempts` more
/// attempts than it has spent, and this priority. Gives which ones. The jobs are locked by ascending id; one that another transaction
/// has locked is waited for.
pub async fn retry_dead(
    conn: &mut PgConnection,
    jobs: &[(JobId, Duration)],
    attempts: u32,
    priority: i32,
    died_by: Option<DateTime<Utc>>,
) -> Result<Vec<JobId>, QueueError> {
    let (ids, delays): (Vec<&str>, Vec<f64>) = jobs
        .iter()
        .map(|(id, delay)| (id.as_str(), delay.as_secs_f64()))
        .unzip();
    let rows = sqlx::query(
        "WITH retried AS (
             UPDATE apalis.jobs j
             SET status = 'Pending', run_at = now() + make_interval(secs => wanted.delay), max_attempts = j.attempts + $3,
                 priority = $4, metadata = j.metadata - $5::text, done_at = NULL, lock_by = NULL, lock_at = NULL
             FROM unnest($1::text[], $2::float8[]) AS wanted (id, delay)
             WHERE j.id = wanted.id
               AND j.id = ANY(ARRAY(SELECT id FROM apalis.jobs
                                    WHERE id = ANY($1) AND status = 'Killed' AND NOT COALESCE(metadata ? $6, false)
                                      AND ($8::timestamptz IS NULL OR done_at <= $8)
                                    ORDER BY id FOR UPDATE))
             RETURNING j.id
         ), woken AS (
             SELECT pg_notify($7, '')::text AS told FROM retried LIMIT 1
         )
         SELECT id, (SELECT told FROM woken) FROM retried",
    )
    .bind(&ids)
    .bind(&delays)
    .bind(i32::try_from(attempts).unwrap_or(i32::MAX))
    .bind(priority)
    .bind(READY_KEY)
    .bind(CANCEL_KEY)
    .bind(WAKE_CHANNEL)
    .bind(died_by)
    .fetch_all(conn)
    .await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

/// Takes the key of a job of queue `J` from it, so that the next job with this key is a new one. If it has not started, it never does.
pub async fn retire_key<J: Job>(conn: &mut PgConnection, key: &str) -> Result<(), QueueError> {
    sqlx::query(
        "UPDATE apalis.jobs
         SET idempotency_key = idempotency_key || '.' || id,
             status = CASE WHEN status = 'Pending' THEN 'Killed' ELSE status END,
             done_at = CASE WHEN status = 'Pending' THEN now() ELSE done_at END,
             last_result = CASE WHEN status = 'Pending' THEN '{\"Err\": \"what it was to do is done again\"}' ELSE last_result END,
             metadata = CASE WHEN status = 'Pending' THEN COALESCE(metadata, '') || hstore($3, '1') ELSE metadata END
         WHERE job_type = $1 AND idempotency_key = $2",
    )
    .bind(J::QUEUE)
    .bind(key)
    .bind(CANCEL_KEY)
    .execute(conn)
    .await?;
    Ok(())
}
