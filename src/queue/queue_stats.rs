//! The state of the queues, for operators and for `/health`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, Row};

use crate::cancel::CANCEL_KEY;
use crate::error::QueueError;
use crate::heartbeat::ALIVE_WITHIN;
use crate::kinds::KNOWN_KINDS;
use crate::pauses::PausedQueue;

/// How many jobs of a queue that are done are counted, and how many that are dead or cancelled.
const MAX_COUNTED: i64 = 10_000;

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueStats {
    /// Its name.
    pub queue: String,
    /// Jobs that could run now.
    pub ready: i64,
    /// Jobs whose `run_at` has not come.
    pub waiting: i64,
    /// Jobs that are running.
    pub running: i64,
    /// Jobs that were completed, of those that are kept; at most 10,000 are counted.
    pub done: i64,
    /// Jobs that were discarded, among the last 10,000 that were discarded or cancelled.
    pub dead: i64,
    /// Jobs that were cancelled, among the same.
    pub cancelled: i64,
    /// Whether there are more that are done, dead or cancelled than were counted.
    pub is_more: bool,
    /// Whether it is paused, by whom and why.
    pub paused: Option<PausedQueue>,
}

/// Whether jobs are being worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueHealth {
    /// Worker processes with a heartbeat in the last seconds.
    pub workers: i64,
    /// How long the oldest ready job has been ready, of queues that are not paused.
    pub oldest_ready: Duration,
    /// What keeps one of these processes from its work, as it says itself: see [`crate::Dependency::fault`].
    pub fault: Option<String>,
    /// Services that fail for one of them: see [`crate::Dependency::failing_services`].
    pub failing_services: Vec<String>,
    /// The queues that operators have paused, by name.
    pub paused: Vec<String>,
    /// The queues that none of these processes serves, by name; none while there is one of a release that does not say what it serves.
    pub unserved: Vec<String>,
}

/// Every queue that has jobs or is paused, by name. Reads what waits and runs by its indexes, and of what is over as much as is counted.
pub async fn stats(conn: &mut PgConnection) -> Result<Vec<QueueStats>, QueueError> {
    let rows = sqlx::query(
        "WITH RECURSIVE queues (name) AS (
             (SELECT job_type FROM apalis.jobs ORDER BY job_type LIMIT 1)
             UNION ALL
             SELECT (SELECT job_type FROM apalis.jobs WHERE job_type > q.name ORDER BY job_type LIMIT 1)
             FROM queues q WHERE q.name IS NOT NULL
         ), pending AS (
             SELECT job_type, count(*) FILTER (WHERE run_at <= now()) AS ready, count(*) FILTER (WHERE run_at > now()) AS waiting
             FROM apalis.jobs WHERE status = 'Pending' GROUP BY job_type
         ), running AS (
             SELECT job_type, count(*) AS running FROM apalis.jobs WHERE lock_by IS NOT NULL AND status = 'Running' GROUP BY job_type
         )
         SELECT q.name, COALESCE(pending.ready, 0), COALESCE(pending.waiting, 0), COALESCE(running.running, 0),
                done.count, killed.count, killed.cancelled, paused.reason, paused.operator, paused.paused_at
         FROM (SELECT name FROM queues WHERE name IS NOT NULL UNION SELECT queue FROM paused_queues) q
         LEFT JOIN pending ON pending.job_type = q.name
         LEFT JOIN running ON running.job_type = q.name
         LEFT JOIN paused_queues paused ON paused.queue = q.name
         CROSS JOIN LATERAL (
             SELECT count(*) FROM (SELECT FROM apalis.jobs o WHERE o.job_type = q.name AND o.status = 'Done' LIMIT $1) o) done
         CROSS JOIN LATERAL (
             SELECT count(*), count(*) FILTER (WHERE is_cancelled) AS cancelled
             FROM (SELECT COALESCE(metadata ? $2, false) AS is_cancelled FROM apalis.jobs o
                   WHERE o.job_type = q.name AND o.status = 'Killed' ORDER BY id DESC LIMIT $1) o) killed
         ORDER BY q.name",
    )
    .bind(MAX_COUNTED)
    .bind(CANCEL_KEY)
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let queue: String = row.try_get(0)?;
            let (done, killed, cancelled): (i64, i64, i64) = (row.try_get(4)?, row.try_get(5)?, row.try_get(6)?);
            let paused_at: Option<DateTime<Utc>> = row.try_get(9)?;
            let paused = match paused_at {
                None => None,
                Some(paused_at) => Some(PausedQueue {
                    queue: queue.clone(),
                    reason: row.try_get(7)?,
                    operator: row.try_get(8)?,
                    paused_at,
                }),
            };
            Ok(QueueStats {
                queue,
                ready: row.try_get(1)?,
                waiting: row.try_get(2)?,
                running: row.try_get(3)?,
                done,
                dead: killed - cancelled,
                cancelled,
                is_more: done >= MAX_COUNTED || killed >= MAX_COUNTED,
                paused,
            })
        })
        .collect()
}

/// Whether jobs are being worked on. Costs few index reads, however many jobs there are.
pub async fn health(conn: &mut PgConnection) -> Result<QueueHealth, QueueError> {
    let row = sqlx::query(
        "SELECT (SELECT count(*) FROM apalis.workers WHERE last_seen > now() - make_interval(secs => $1)),
                COALESCE(EXTRACT(EPOCH FROM now() - (
                    SELECT run_at FROM apalis.jobs
                    WHERE status = 'Pending' AND NOT (job_type = ANY(ARRAY(SELECT queue FROM paused_queues)))
                    ORDER BY run_at LIMIT 1
                )), 0)::float8,
                (SELECT min(fault) FROM apalis.workers WHERE last_seen > now() - make_interval(secs => $1)),
                ARRAY(SELECT DISTINCT service FROM apalis.workers, unnest(failing_services) AS service
                      WHERE last_seen > now() - make_interval(secs => $1)),
                ARRAY(SELECT queue FROM paused_queues ORDER BY queue),
                ARRAY(SELECT name FROM unnest($2::text[]) AS name
                      WHERE NOT EXISTS (SELECT 1 FROM apalis.workers WHERE last_seen > now() - make_interval(secs => $1)
                                                                       AND (queues IS NULL OR name = ANY(queues)))
                      ORDER BY name)",
    )
    .bind(ALIVE_WITHIN.as_secs_f64())
    .bind(KNOWN_KINDS.map(|kind| kind.queue))
    .fetch_one(conn)
    .await?;
    Ok(QueueHealth {
        workers: row.try_get(0)?,
        oldest_ready: Duration::from_secs_f64(row.try_get::<f64, _>(1)?.max(0.0)),
        fault: row.try_get(2)?,
        failing_services: row.try_get(3)?,
        paused: row.try_get(4)?,
        unserved: row.try_get(5)?,
    })
}
