//! Takes over from instances that died: their jobs are ready again, or discarded when their attempts are used up.

use sqlx::Row;
use tokio::time::Instant;

use crate::cancel::cancelled_by_operator;
use crate::error::QueueError;
use crate::instance::Instance;
use crate::notify_channels::WAKE_CHANNEL;
use crate::on_failure::enqueue_on_failure_jobs;
use crate::peers::{Heartbeat, Peers};
use crate::statement_timeout::with_timeout;

/// What marks our rows in apalis' table of workers.
pub(crate) const WORKER_TYPE: &str = "cura";
/// The most peers that are looked at.
const MAX_PEERS: i64 = 1000;

/// A worker's last heartbeat. A worker of the release before renews `last_seen` only.
macro_rules! heartbeat_mark {
    () => {
        "w.beats || '@' || extract(epoch FROM w.last_seen)"
    };
}

/// Whether a job whose worker died is tried again.
macro_rules! goes_on {
    () => {
        concat!("(attempts < max_attempts AND NOT ", cancelled_by_operator!(), ")")
    };
}

/// Reads the last heartbeat of every peer.
async fn read_heartbeats(instance: &Instance) -> Result<Vec<Heartbeat>, QueueError> {
    let rows = sqlx::query(concat!(
        "SELECT w.id, ",
        heartbeat_mark!(),
        " FROM apalis.workers w WHERE w.worker_type = $1 AND w.id <> $2 ORDER BY w.id LIMIT $3"
    ))
    .bind(WORKER_TYPE)
    .bind(&*instance.id())
    .bind(MAX_PEERS)
    .fetch_all(&instance.pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Heartbeat {
                peer: row.try_get(0)?,
                mark: row.try_get(1)?,
            })
        })
        .collect()
}

/// Looks at the peers' heartbeats, and releases the jobs of those that are dead.
pub(crate) async fn rescue(instance: &Instance, peers: &mut Peers) -> Result<(), QueueError> {
    let heartbeats = with_timeout(read_heartbeats(instance)).await?;
    let dead = peers.look(heartbeats, Instant::now(), &instance.config);
    if dead.is_empty() {
        return Ok(());
    }
    with_timeout(release_jobs_of(instance, dead)).await
}

/// Releases the jobs of instances that have sent no heartbeat since, and discards those that have used up their attempts.
async fn release_jobs_of(instance: &Instance, dead: Vec<Heartbeat>) -> Result<(), QueueError> {
    let (ids, marks): (Vec<String>, Vec<String>) = dead
        .into_iter()
        .map(|heartbeat| (heartbeat.peer, heartbeat.mark))
        .unzip();
    let row = sqlx::query(concat!(
        "WITH dead AS (
             SELECT w.id FROM apalis.workers w JOIN unnest($1::text[], $2::text[]) AS silent (id, mark) ON w.id = silent.id
             WHERE silent.mark = ",
        heartbeat_mark!(),
        "
             ORDER BY w.id FOR UPDATE OF w SKIP LOCKED
         ), rescued AS (
             UPDATE apalis.jobs
             SET status = CASE WHEN ",
        goes_on!(),
        " THEN 'Pending' ELSE 'Killed' END,
                 run_at = CASE WHEN ",
        goes_on!(),
        " THEN now() ELSE run_at END,
                 -- One that has begun goes before others: people watch it.
                 priority = GREATEST(priority, 1),
                 done_at = CASE WHEN ",
        goes_on!(),
        " THEN NULL ELSE now() END,
                 last_result = '{\"Err\": \"the worker died\"}', lock_by = NULL, lock_at = NULL
             WHERE lock_by IN (SELECT id FROM dead) AND status = 'Running'
             RETURNING id, job, status, attempts, metadata
         ), on_failure AS (
             ",
        enqueue_on_failure_jobs!("rescued"),
        "
         ), gone AS (
             DELETE FROM apalis.workers WHERE id IN (SELECT id FROM dead)
         ), woken AS (
             SELECT pg_notify($3, '') FROM (
                 SELECT id FROM rescued WHERE status = 'Pending' UNION ALL SELECT id FROM on_failure
             ) ready LIMIT 1
         )
         SELECT (SELECT count(*) FROM dead), (SELECT count(*) FROM rescued), (SELECT count(*) FROM woken)",
    ))
    .bind(ids)
    .bind(marks)
    .bind(WAKE_CHANNEL)
    .fetch_one(&instance.pool)
    .await?;
    let (dead, rescued): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    if dead > 0 {
        tracing::warn!(
            workers = dead,
            jobs = rescued,
            "workers missed heartbeats; releasing their jobs"
        );
    }
    Ok(())
}
