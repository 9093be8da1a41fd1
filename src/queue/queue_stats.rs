//! The state of the queues, for operators and for `/health`.

use std::time::Duration;

use sqlx::{PgConnection, Row};

use crate::error::QueueError;
use crate::heartbeat::ALIVE_WITHIN;

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueStats {
    /// Its name.
    pub queue: String,
    /// Jobs that could run now.
    pub ready: i64,
    /// Jobs whose `run_at` has not come.
    pub waiting: i64,
    /// Jobs that are running.
    pub running: i64,
    /// Jobs that were discarded, or cancelled before they started.
    pub dead: i64,
}

/// Whether jobs are being worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueHealth {
    /// Worker processes with a heartbeat in the last seconds.
    pub workers: i64,
    /// How long the oldest ready job has been ready.
    pub oldest_ready: Duration,
    /// What keeps one of these processes from its work, as it says itself: see [`crate::Dependency::fault`].
    pub fault: Option<String>,
    /// Services that fail for one of them: see [`crate::Dependency::failing_services`].
    pub failing_services: Vec<String>,
}

/// Every queue that has jobs. Reads the whole table: for operators, not for probes.
pub async fn stats(conn: &mut PgConnection) -> Result<Vec<QueueStats>, QueueError> {
    let rows = sqlx::query(
        "SELECT job_type,
                count(*) FILTER (WHERE status = 'Pending' AND run_at <= now()),
                count(*) FILTER (WHERE status = 'Pending' AND run_at > now()),
                count(*) FILTER (WHERE status = 'Running'),
                count(*) FILTER (WHERE status = 'Killed')
         FROM apalis.jobs GROUP BY job_type ORDER BY job_type",
    )
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(QueueStats {
                queue: row.try_get(0)?,
                ready: row.try_get(1)?,
                waiting: row.try_get(2)?,
                running: row.try_get(3)?,
                dead: row.try_get(4)?,
            })
        })
        .collect()
}

/// Whether jobs are being worked on. Costs few index reads, however many jobs there are.
pub async fn health(conn: &mut PgConnection) -> Result<QueueHealth, QueueError> {
    let row = sqlx::query(
        "SELECT (SELECT count(*) FROM apalis.workers WHERE last_seen > now() - make_interval(secs => $1)),
                COALESCE(EXTRACT(EPOCH FROM now() - (
                    SELECT run_at FROM apalis.jobs WHERE status = 'Pending' ORDER BY run_at LIMIT 1
                )), 0)::float8,
                (SELECT min(fault) FROM apalis.workers WHERE last_seen > now() - make_interval(secs => $1)),
                ARRAY(SELECT DISTINCT service FROM apalis.workers, unnest(failing_services) AS service
                      WHERE last_seen > now() - make_interval(secs => $1))",
    )
    .bind(ALIVE_WITHIN.as_secs_f64())
    .fetch_one(conn)
    .await?;
    Ok(QueueHealth {
        workers: row.try_get(0)?,
        oldest_ready: Duration::from_secs_f64(row.try_get::<f64, _>(1)?.max(0.0)),
        fault: row.try_get(2)?,
        failing_services: row.try_get(3)?,
    })
}
