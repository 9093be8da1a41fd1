//! Where single jobs stand: whether they are over, running, or how many are ahead of them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, Row};

use crate::cancel::CANCEL_KEY;
use crate::error::QueueError;
use crate::heartbeat::ALIVE_WITHIN;
use crate::job::{Job, JobId};

/// The most jobs that are counted ahead of one.
const MAX_POSITION: i64 = 1000;

/// The position of a job of queue `J` among the ready ones, from 1, at most 1,001. `None` if it is waiting, running or over,
/// or if no worker is alive.
///
/// It is the order in which jobs are claimed, as priorities are at this moment: those that have waited for 15 s are given
/// the usual one every few seconds, and then move ahead of others. Costs about as many reads as there are jobs ahead.
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
           AND EXISTS (SELECT 1 FROM apalis.workers WHERE last_seen > now() - make_interval(secs => $4))",
    )
    .bind(J::QUEUE)
    .bind(key)
    .bind(MAX_POSITION)
    .bind(ALIVE_WITHIN.as_secs_f64())
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// The keys among these whose job of queue `J` is ready, waiting or running.
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

/// A state of a job. See the state diagram of the crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// A worker may claim it.
    Ready,
    /// It is not to be claimed yet.
    Waiting,
    /// A worker has claimed it.
    Running,
    /// It was completed.
    Done,
    /// It was discarded.
    Dead,
    /// It was cancelled.
    Cancelled,
}

impl JobState {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A job, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobStatus {
    /// Its id.
    pub id: JobId,
    /// Where it stands.
    pub state: JobState,
    /// When it may be claimed, or might have been.
    pub run_at: DateTime<Utc>,
    /// Attempts that were spent.
    pub attempts: i32,
    /// Attempts that it has.
    pub max_attempts: i32,
    /// Why its last run did not complete it.
    pub reason: Option<String>,
}

/// The job of queue `J` with this key, which may be over.
pub async fn find_job<J: Job>(conn: &mut PgConnection, key: &str) -> Result<Option<JobStatus>, QueueError> {
    let row = sqlx::query(
        "SELECT status, run_at, run_at > now(), attempts, max_attempts, last_result ->> 'Err',
                COALESCE(metadata ? $3, false), id
         FROM apalis.jobs WHERE job_type = $1 AND idempotency_key = $2",
    )
    .bind(J::QUEUE)
    .bind(key)
    .bind(CANCEL_KEY)
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(JobStatus {
        id: row.try_get(7)?,
        state: state_of(row.try_get(0)?, row.try_get(2)?, row.try_get(6)?),
        run_at: row.try_get(1)?,
        attempts: row.try_get(3)?,
        max_attempts: row.try_get(4)?,
        reason: row.try_get(5)?,
    }))
}

/// The state of a job whose row has this status, is to run later, or has the mark of cancelled jobs.
pub(crate) fn state_of(status: &str, is_waiting: bool, is_cancelled: bool) -> JobState {
    match status {
        "Done" => JobState::Done,
        "Killed" if is_cancelled => JobState::Cancelled,
        "Killed" => JobState::Dead,
        "Running" => JobState::Running,
        _ if is_waiting => JobState::Waiting,
        _ => JobState::Ready,
    }
}
