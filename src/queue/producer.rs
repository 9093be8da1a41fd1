//! Claiming: one statement for all queues of this process takes as many jobs as there are free slots.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::Row;
use tokio::time::Instant;

use crate::QueueError;
use crate::executor::{Claimed, QueueSlots};
use crate::instance::Shared;
use crate::timeout::with_timeout;

/// The most jobs claimed for one queue in one statement.
const CLAIM_BATCH: usize = 32;
/// How often jobs are looked for that are ours without our knowing.
const FIND_LOST_EVERY: Duration = Duration::from_secs(5);
/// How long a job of low priority waits before it has the same as others.
const STARVING: Duration = Duration::from_secs(15);

/// Claims whenever there are free slots and jobs, until the process drains.
pub(crate) async fn claim_until_draining(shared: Arc<Shared>, queues: Arc<[Arc<QueueSlots>]>) {
    let mut failing = false;
    let mut find_lost_at = Instant::now() + FIND_LOST_EVERY;
    while !shared.draining.is_cancelled() {
        let more = if shared.leased.load(Ordering::Acquire) {
            let claimed = async {
                if Instant::now() >= find_lost_at {
                    release_orphaned_claims(&shared).await?;
                    age_priorities(&shared).await?;
                    find_lost_at = Instant::now() + FIND_LOST_EVERY;
                }
                claim(&shared, &queues).await
            };
            match claimed.await {
                Ok(more) => {
                    failing = false;
                    more
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "claiming jobs failed");
                    }
                    false
                }
            }
        } else {
            false
        };
        if !more {
            tokio::select! {
                () = shared.wake.notified() => {}
                () = tokio::time::sleep(shared.config.poll) => {}
                () = shared.draining.cancelled() => return,
            }
        }
    }
}

/// A claim whose answer got lost leaves jobs that are ours and that we know nothing of: they are given back. Only between
/// two claims, so that none is on its way.
async fn release_orphaned_claims(shared: &Shared) -> Result<(), QueueError> {
    let instance = shared.instance();
    let known = shared.known_runs();
    let released = sqlx::query(
        "WITH lost AS (
             UPDATE apalis.jobs
             SET status = 'Pending', attempts = attempts - 1, run_at = now(), lock_by = NULL, lock_at = NULL
             WHERE lock_by = $1 AND status = 'Running' AND NOT (id = ANY($2))
             RETURNING id
         )
         SELECT count(*) FROM lost",
    )
    .bind(&*instance)
    .bind(known)
    .fetch_one(&shared.pool);
    let lost: i64 = with_timeout(async { Ok(released.await?.try_get(0)?) }).await?;
    if lost > 0 {
        tracing::warn!(jobs = lost, "claims whose answer got lost were given back");
    }
    Ok(())
}

/// Whoever has waited long enough waits for nobody's priority any more.
async fn age_priorities(shared: &Shared) -> Result<(), QueueError> {
    let aged = sqlx::query(
        "UPDATE apalis.jobs SET priority = 0
         WHERE status = 'Pending' AND priority < 0 AND run_at < now() - make_interval(secs => $1)",
    )
    .bind(STARVING.as_secs_f64())
    .execute(&shared.pool);
    with_timeout(async { Ok(aged.await.map(drop)?) }).await
}

/// Claims for every lane with free slots, in one statement; whether a lane was filled, so that more may be ready.
async fn claim(shared: &Shared, queues: &[Arc<QueueSlots>]) -> Result<bool, QueueError> {
    let free: Vec<(usize, usize)> = queues
        .iter()
        .enumerate()
        .map(|(index, lane)| (index, lane.free().min(CLAIM_BATCH)))
        .filter(|(_, free)| *free > 0)
        .collect();
    if free.is_empty() {
        return Ok(false);
    }
    let instance = shared.instance();
    let names: Vec<&str> = free.iter().map(|(index, _)| queues[*index].queue).collect();
    let limits: Vec<i64> = free
        .iter()
        .map(|(_, free)| i64::try_from(*free).unwrap_or(i64::MAX))
        .collect();
    let claim = sqlx::query(
        "WITH ready AS MATERIALIZED (
             SELECT job.id FROM unnest($1::text[], $2::bigint[]) AS lane (queue, free)
             CROSS JOIN LATERAL (
                 SELECT id FROM apalis.jobs
                 WHERE job_type = lane.queue AND status = 'Pending' AND run_at <= now()
                 ORDER BY priority DESC, run_at LIMIT lane.free FOR UPDATE SKIP LOCKED
             ) job
         )
         UPDATE apalis.jobs j
         SET status = 'Running', attempts = attempts + 1, lock_by = $3, lock_at = now()
         FROM ready WHERE j.id = ready.id
         RETURNING j.id, j.job_type, j.job, j.attempts, j.max_attempts",
    )
    .bind(names)
    .bind(limits)
    .bind(&*instance)
    .fetch_all(&shared.pool);
    let rows = with_timeout(async { Ok(claim.await?) }).await?;
    let mut taken = vec![0_usize; queues.len()];
    for row in rows {
        let queue: &str = row.try_get(1)?;
        let Some((index, lane)) = queues.iter().enumerate().find(|(_, lane)| lane.queue == queue) else {
            continue;
        };
        let attempt = row.try_get::<i32, _>(3)?.unsigned_abs();
        let run = shared.open_run(
            &instance,
            row.try_get(0)?,
            attempt,
            row.try_get::<i32, _>(4)?.unsigned_abs(),
        );
        taken[index] += 1;
        lane.running.fetch_add(1, Ordering::AcqRel);
        let claimed = Claimed {
            instance: Arc::clone(&instance),
            payload: row.try_get(2)?,
            run,
        };
        // The channel has a place for every slot of the lane.
        if lane.claimed.send(claimed).await.is_err() {
            tracing::error!(queue, "a claimed job has no worker");
        }
    }
    Ok(free.iter().any(|(index, wanted)| taken[*index] == *wanted))
}
