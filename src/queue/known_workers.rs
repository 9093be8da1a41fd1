//! Worker processes as operators see them: which live, what they run, and what keeps them from their work.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::{PgConnection, Row};

use crate::error::QueueError;
use crate::heartbeat::ALIVE_WITHIN;
use crate::rescuer::WORKER_TYPE;

/// A worker process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KnownWorker {
    /// Its identity, another one at every start.
    pub id: String,
    /// Whether it had a heartbeat in the last seconds. One that has not is rescued by its peers, if there are any.
    pub alive: bool,
    /// When it started, or lost the identity that it had before.
    pub started_at: Option<DateTime<Utc>>,
    /// Its last heartbeat.
    pub last_seen: DateTime<Utc>,
    /// What keeps it from its work, as it says itself.
    pub fault: Option<String>,
    /// Services that fail for it without keeping it from its other work.
    pub failing_services: Vec<String>,
    /// The queues that it serves; `None` if it is of a release that did not say.
    pub queues: Option<Vec<String>>,
    /// What it runs.
    pub running: Vec<RunningJobs>,
    /// What it says of what its jobs depend on: see [`crate::Dependency::report`].
    #[serde(skip)]
    pub report: Option<Value>,
}

/// The jobs of a queue that a worker runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunningJobs {
    /// The queue.
    pub queue: String,
    /// How many.
    pub jobs: i64,
    /// Since when the first of them runs.
    pub since: Option<DateTime<Utc>>,
}

/// At most `limit` worker processes, the one that started last first; those before `before`, if it is given.
pub async fn list_workers(
    conn: &mut PgConnection,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<KnownWorker>, QueueError> {
    let rows = sqlx::query(
        "SELECT w.id, w.last_seen > now() - make_interval(secs => $1) AS alive, w.started_at, w.last_seen, w.fault,
                COALESCE(w.failing_services, '{}') AS failing_services, w.queues AS served, w.report,
                running.queues, running.jobs, running.since
         FROM (SELECT * FROM apalis.workers WHERE worker_type = $2 AND id < $3 ORDER BY id DESC LIMIT $4) w
         CROSS JOIN LATERAL (
             SELECT COALESCE(array_agg(job_type ORDER BY job_type), '{}') AS queues,
                    COALESCE(array_agg(jobs ORDER BY job_type), '{}') AS jobs,
                    COALESCE(array_agg(since ORDER BY job_type), '{}') AS since
             FROM (SELECT job_type, count(*) AS jobs, min(lock_at) AS since FROM apalis.jobs
                   WHERE lock_by = w.id AND status = 'Running' GROUP BY job_type) r) running
         ORDER BY w.id DESC",
    )
    .bind(ALIVE_WITHIN.as_secs_f64())
    .bind(WORKER_TYPE)
    .bind(before.unwrap_or("Z"))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let queues: Vec<String> = row.try_get("queues")?;
            let (jobs, since): (Vec<i64>, Vec<Option<DateTime<Utc>>>) = (row.try_get("jobs")?, row.try_get("since")?);
            let running = queues.into_iter().zip(jobs).zip(since);
            Ok(KnownWorker {
                id: row.try_get("id")?,
                alive: row.try_get("alive")?,
                started_at: row.try_get("started_at")?,
                last_seen: row.try_get("last_seen")?,
                fault: row.try_get("fault")?,
                failing_services: row.try_get("failing_services")?,
                queues: row.try_get("served")?,
                report: row.try_get("report")?,
                running: running
                    .map(|((queue, jobs), since)| RunningJobs { queue, jobs, since })
                    .collect(),
            })
        })
        .collect()
}
