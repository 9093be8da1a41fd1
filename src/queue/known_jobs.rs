//! Jobs as operators see them: lists of those of any queue and state, newest first, and all that is known of one. Payloads hold ids only.

use chrono::{DateTime, Utc};
use cura_domain::{ConversationId, UserId};
use serde::Serialize;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::cancel::CANCEL_KEY;
use crate::error::QueueError;
use crate::job::JobId;
use crate::job_status::{JobState, state_of};
use crate::on_failure;
use crate::retry::first_id_at;

/// A job, as operators see it in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KnownJob {
    /// Its id; the later a job was made, the greater it is.
    pub id: JobId,
    /// Its queue.
    pub queue: String,
    /// Where it stands.
    pub state: JobState,
    /// Attempts that were spent.
    pub attempts: i32,
    /// Attempts that it has.
    pub max_attempts: i32,
    /// When it was made; `None` for an id that does not say.
    pub created_at: Option<DateTime<Utc>>,
    /// When it may be claimed, or might have been.
    pub run_at: DateTime<Utc>,
    /// When it was done, dead or cancelled.
    pub ended_at: Option<DateTime<Utc>>,
    /// Why its last run did not complete it.
    pub reason: Option<String>,
    /// Whose words it works with.
    pub user_id: Option<UserId>,
    /// The conversation whose words it works with.
    pub conversation_id: Option<ConversationId>,
}

/// All that is known of a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobDetails {
    /// What lists say of it.
    #[serde(flatten)]
    pub job: KnownJob,
    /// What makes it one job with others of its queue.
    pub key: Option<String>,
    /// The higher, the earlier.
    pub priority: i32,
    /// The worker that has claimed it.
    pub worker: Option<String>,
    /// Since when.
    pub claimed_at: Option<DateTime<Utc>>,
    /// Whether it is to be cancelled.
    pub cancel_requested: bool,
    /// The queue of the job that is enqueued when it is discarded.
    pub on_failure: Option<String>,
    /// What it works on: ids.
    pub payload: Value,
}

/// Which jobs are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownJobs {
    /// Those of this queue.
    pub queue: Option<String>,
    /// Those in this state.
    pub state: Option<JobState>,
    /// Those that were made at this moment, or later.
    pub since: Option<DateTime<Utc>>,
    /// Those whose reason has this text in it; those that are done have none.
    pub reason: Option<String>,
    /// Those that are older than this one.
    pub before: Option<JobId>,
}

/// The columns of [`KnownJob`], of a table `j`; the parameter of the key of cancelled jobs is the first.
macro_rules! columns {
    () => {
        "j.id, j.job_type, j.status, j.run_at > now() AS is_waiting, COALESCE(j.metadata ? $1, false) AS is_cancelled,
         j.attempts, j.max_attempts, j.run_at, j.done_at, j.last_result ->> 'Err' AS reason,
         j.metadata -> 'user' AS user_id, j.metadata -> 'conversation' AS conversation_id"
    };
}

/// At most `limit` of these jobs, newest first. Costs a page of an index for each queue and state; with a reason, up to all jobs that
/// failed.
pub async fn list_known(conn: &mut PgConnection, which: &KnownJobs, limit: i64) -> Result<Vec<KnownJob>, QueueError> {
    let is_any_of = |states: &[JobState]| which.state.is_none_or(|state| states.contains(&state));
    // For each queue a walk along an index that begins with it; what is over has one, and of the others there are few.
    let rows = sqlx::query(concat!(
        "WITH RECURSIVE queues (name) AS (
             (SELECT job_type FROM apalis.jobs ORDER BY job_type LIMIT 1)
             UNION ALL
             SELECT (SELECT job_type FROM apalis.jobs WHERE job_type > q.name ORDER BY job_type LIMIT 1)
             FROM queues q WHERE q.name IS NOT NULL
         ), found AS (
             SELECT page.id FROM queues q CROSS JOIN LATERAL (
                 (SELECT id FROM apalis.jobs o
                  WHERE $7 AND o.job_type = q.name AND o.status = 'Done' AND o.id < $3 AND o.id >= $4
                  ORDER BY id DESC LIMIT $6)
                 UNION ALL
                 (SELECT id FROM apalis.jobs o
                  WHERE $8 AND o.job_type = q.name AND o.status = 'Killed' AND o.id < $3 AND o.id >= $4
                    AND ($9::bool IS NULL OR COALESCE(o.metadata ? $1, false) = $9)
                    AND ($5::text IS NULL OR strpos(o.last_result ->> 'Err', $5) > 0)
                  ORDER BY id DESC LIMIT $6)
                 UNION ALL
                 (SELECT id FROM apalis.jobs o
                  WHERE $10 AND o.job_type = q.name AND o.status = 'Pending' AND o.id < $3 AND o.id >= $4
                    AND ($11::bool IS NULL OR (o.run_at > now()) = $11)
                    AND ($5::text IS NULL OR strpos(o.last_result ->> 'Err', $5) > 0)
                  ORDER BY id DESC LIMIT $6)
                 UNION ALL
                 (SELECT id FROM apalis.jobs o
                  WHERE $12 AND o.lock_by IS NOT NULL AND o.job_type = q.name AND o.status = 'Running' AND o.id < $3 AND o.id >= $4
                    AND ($5::text IS NULL OR strpos(o.last_result ->> 'Err', $5) > 0)
                  ORDER BY id DESC LIMIT $6)
             ) page
             WHERE q.name IS NOT NULL AND ($2::text IS NULL OR q.name = $2)
         )
         SELECT ",
        columns!(),
        " FROM (SELECT id FROM found ORDER BY id DESC LIMIT $6) newest JOIN apalis.jobs j ON j.id = newest.id
         ORDER BY j.id DESC",
    ))
    .bind(CANCEL_KEY)
    .bind(which.queue.as_deref())
    // Greater than every id.
    .bind(which.before.as_deref().unwrap_or("Z"))
    .bind(which.since.map(first_id_at).unwrap_or_default())
    .bind(which.reason.as_deref())
    .bind(limit)
    .bind(is_any_of(&[JobState::Done]) && which.reason.is_none())
    .bind(is_any_of(&[JobState::Dead, JobState::Cancelled]))
    .bind(match which.state {
        Some(JobState::Dead) => Some(false),
        Some(JobState::Cancelled) => Some(true),
        _ => None,
    })
    .bind(is_any_of(&[JobState::Ready, JobState::Waiting]))
    .bind(match which.state {
        Some(JobState::Ready) => Some(false),
        Some(JobState::Waiting) => Some(true),
        _ => None,
    })
    .bind(is_any_of(&[JobState::Running]))
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// The job with this id.
pub async fn find_known(conn: &mut PgConnection, id: &str) -> Result<Option<JobDetails>, QueueError> {
    let row = sqlx::query(concat!(
        "SELECT ",
        columns!(),
        ", j.idempotency_key, j.priority, j.lock_by, j.lock_at, j.metadata -> $3 AS on_failure, j.job
         FROM apalis.jobs j WHERE j.id = $2",
    ))
    .bind(CANCEL_KEY)
    .bind(id)
    .bind(on_failure::QUEUE_KEY)
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let payload: Vec<u8> = row.try_get("job")?;
    Ok(Some(JobDetails {
        job: read(&row)?,
        key: row.try_get("idempotency_key")?,
        priority: row.try_get("priority")?,
        worker: row.try_get("lock_by")?,
        claimed_at: row.try_get("lock_at")?,
        cancel_requested: row.try_get("is_cancelled")?,
        on_failure: row.try_get("on_failure")?,
        payload: serde_json::from_slice(&payload).unwrap_or_default(),
    }))
}

fn read(row: &PgRow) -> Result<KnownJob, QueueError> {
    let id: JobId = row.try_get("id")?;
    let number = |column| -> Result<Option<i64>, QueueError> {
        let text: Option<String> = row.try_get(column)?;
        Ok(text.and_then(|text| text.parse().ok()))
    };
    Ok(KnownJob {
        created_at: made_at(&id),
        queue: row.try_get("job_type")?,
        state: state_of(
            row.try_get("status")?,
            row.try_get("is_waiting")?,
            row.try_get("is_cancelled")?,
        ),
        attempts: row.try_get("attempts")?,
        max_attempts: row.try_get("max_attempts")?,
        run_at: row.try_get("run_at")?,
        ended_at: row.try_get("done_at")?,
        reason: row.try_get("reason")?,
        user_id: number("user_id")?.map(UserId),
        conversation_id: number("conversation_id")?.map(ConversationId),
        id,
    })
}

/// When a job with this id was made.
pub(crate) fn made_at(id: &str) -> Option<DateTime<Utc>> {
    let id: ulid::Ulid = id.parse().ok()?;
    DateTime::from_timestamp_millis(i64::try_from(id.timestamp_ms()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_when_its_job_was_made() {
        let at = "2027-01-10T11:00:00.123Z".parse().unwrap();
        assert_eq!(made_at(&first_id_at(at)), Some(at));
        assert_eq!(made_at("none"), None);
        assert!(first_id_at(at).as_str() < "Z");
    }
}
