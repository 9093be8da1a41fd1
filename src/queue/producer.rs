//! Claims jobs: one statement for all queues of this process that are not paused takes as many as there are free slots, in the order of their
//! priority and readiness, and hands each to the executor of its queue.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::cancel::cancelled_by_operator;
use crate::claimed_job::{ClaimedJob, ClaimedRow};
use crate::due_times::DueTimes;
use crate::error::QueueError;
use crate::instance::Instance;
use crate::on_failure::enqueue_on_failure_jobs;
use crate::slots::QueueSlots;
use crate::statement_timeout::with_timeout;

/// The most jobs claimed for one queue in one statement.
const CLAIM_BATCH: u32 = 32;
/// How often orphaned claims are released and priorities aged.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// How long a job of low priority waits before it has the usual one.
const AGING: Duration = Duration::from_secs(15);
/// The same for one of a priority below -1: of many that an operator has had enqueued at once, behind which people would wait.
const AGING_IN_BULK: Duration = Duration::from_secs(10 * 60);

/// A queue that this process serves.
pub(crate) struct ServedQueue {
    pub(crate) name: &'static str,
    pub(crate) slots: QueueSlots,
    /// To the executor; has room for every slot.
    pub(crate) jobs: mpsc::Sender<ClaimedJob>,
}

/// Claims whenever there are free slots and jobs, until the process drains.
pub(crate) async fn run_producer_loop(instance: Arc<Instance>, queues: Arc<[ServedQueue]>) {
    let mut failing = false;
    let mut upkeep_at = Instant::now() + UPKEEP_INTERVAL;
    let mut due_times = DueTimes::new();
    // Those of paused queues, too: they may be resumed before the next look.
    let names: Vec<&str> = queues.iter().map(|queue| queue.name).collect();
    while !instance.draining.is_cancelled() {
        let more = if instance.leased.load(Ordering::Acquire) {
            let claimed = async {
                if Instant::now() >= upkeep_at {
                    release_orphaned_claims(&instance).await?;
                    age_priorities(&instance).await?;
                    upkeep_at = Instant::now() + UPKEEP_INTERVAL;
                }
                claim(&instance, &queues).await
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
            let poll = Instant::now() + instance.config.poll_interval;
            // Why Postgres does not answer is said by the next claim.
            let next = due_times.next(&instance, &names).await.unwrap_or(poll);
            tokio::select! {
                () = instance.wake.notified() => {}
                () = tokio::time::sleep_until(next) => {}
                () = instance.draining.cancelled() => return,
            }
        }
    }
}

/// Releases jobs that are claimed by this instance and have no open run here: the answer to their claim got lost, or their
/// claim was dropped. Only between two claims, so that none is on its way.
async fn release_orphaned_claims(instance: &Instance) -> Result<(), QueueError> {
    let instance_id = instance.id();
    let open = instance.open_runs();
    let released = sqlx::query(concat!(
        "WITH orphaned AS (
             UPDATE apalis.jobs
             SET status = CASE WHEN ",
        cancelled_by_operator!(),
        " THEN 'Killed' ELSE 'Pending' END,
                 done_at = CASE WHEN ",
        cancelled_by_operator!(),
        " THEN now() END,
                 attempts = attempts - 1, run_at = now(), lock_by = NULL, lock_at = NULL
             WHERE lock_by = $1 AND status = 'Running' AND NOT (id = ANY($2))
             RETURNING id, job, status, attempts, metadata
         ), on_failure AS (
             ",
        enqueue_on_failure_jobs!("orphaned"),
        "
         )
         SELECT count(*) FROM orphaned",
    ))
    .bind(&*instance_id)
    .bind(open)
    .fetch_one(&instance.pool);
    let orphaned: i64 = with_timeout(async { Ok(released.await?.try_get(0)?) }).await?;
    if orphaned > 0 {
        tracing::warn!(jobs = orphaned, "orphaned claims were released");
    }
    Ok(())
}

/// Raises a low priority to the usual one after [`AGING`], or [`AGING_IN_BULK`], so that no job starves.
async fn age_priorities(instance: &Instance) -> Result<(), QueueError> {
    let aged = sqlx::query(
        "UPDATE apalis.jobs SET priority = 0
         WHERE status = 'Pending' AND priority < 0
           AND run_at < now() - make_interval(secs => CASE WHEN priority = -1 THEN $1 ELSE $2 END)",
    )
    .bind(AGING.as_secs_f64())
    .bind(AGING_IN_BULK.as_secs_f64())
    .execute(&instance.pool);
    with_timeout(async { Ok(aged.await.map(drop)?) }).await
}

/// Claims for every queue with free slots, in one statement. Gives whether all slots of a queue were used, so that more
/// jobs may be ready.
async fn claim(instance: &Arc<Instance>, queues: &[ServedQueue]) -> Result<bool, QueueError> {
    let mut reserved: Vec<_> = queues
        .iter()
        // Without an executor nothing could be run.
        .filter(|queue| !queue.jobs.is_closed())
        // Left out here, so that the statement and its plan are the same whatever is paused.
        .filter(|queue| instance.may_claim(queue.name))
        .map(|queue| (queue, queue.slots.reserve(CLAIM_BATCH)))
        .filter(|(_, slots)| slots.len() > 0)
        .collect();
    if reserved.is_empty() {
        return Ok(false);
    }
    let names: Vec<&str> = reserved.iter().map(|(queue, _)| queue.name).collect();
    let limits: Vec<i64> = reserved
        .iter()
        .map(|(_, slots)| i64::try_from(slots.len()).unwrap_or(i64::MAX))
        .collect();
    let instance_id = instance.id();
    let claim = sqlx::query(
        "WITH ready AS MATERIALIZED (
             SELECT job.id FROM unnest($1::text[], $2::bigint[]) AS queue (name, free)
             CROSS JOIN LATERAL (
                 SELECT id FROM apalis.jobs
                 WHERE job_type = queue.name AND status = 'Pending' AND run_at <= now()
                 ORDER BY priority DESC, run_at LIMIT queue.free FOR UPDATE SKIP LOCKED
             ) job
         )
         UPDATE apalis.jobs j
         SET status = 'Running', attempts = attempts + 1, lock_by = $3, lock_at = now()
         FROM ready WHERE j.id = ready.id
         RETURNING j.id, j.job_type, j.job, j.attempts, j.max_attempts",
    )
    .bind(names)
    .bind(limits)
    .bind(&*instance_id)
    .fetch_all(&instance.pool);
    for row in with_timeout(async { Ok(claim.await?) }).await? {
        let name: &str = row.try_get("job_type")?;
        if let Some((queue, slots)) = reserved.iter_mut().find(|(queue, _)| queue.name == name)
            && let Some(slot) = slots.take()
        {
            hand_over(queue, ClaimedJob::open(instance, &instance_id, decode(&row)?, slot));
        }
    }
    Ok(reserved.iter().any(|(_, slots)| slots.len() == 0))
}

fn decode(row: &PgRow) -> Result<ClaimedRow, QueueError> {
    Ok(ClaimedRow {
        job_id: row.try_get("id")?,
        payload: row.try_get("job")?,
        attempt: row.try_get::<i32, _>("attempts")?.unsigned_abs(),
        max_attempts: row.try_get::<i32, _>("max_attempts")?.unsigned_abs(),
    })
}

/// Hands a job to the executor of its queue. If that is gone, the claim is dropped.
fn hand_over(queue: &ServedQueue, job: ClaimedJob) {
    if let Err(refused) = queue.jobs.try_send(job) {
        let job_id = refused.into_inner().claim.run.job_id.clone();
        tracing::error!(
            queue = queue.name,
            job_id,
            "a claimed job has no executor; releasing it"
        );
    }
}

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgPoolOptions;

    use super::*;
    use crate::config::WorkersConfig;

    #[tokio::test]
    async fn a_job_whose_hand_over_fails_gives_its_slot_back_and_is_released() {
        let pool = PgPoolOptions::new().connect_lazy("postgres://nowhere/nothing");
        let instance = Arc::new(Instance::new(
            pool.expect("a URL"),
            WorkersConfig::default(),
            vec!["test"],
            Box::new(crate::dependency::Nothing),
        ));
        let (sender, receiver) = mpsc::channel(1);
        let queue = ServedQueue {
            name: "test",
            slots: QueueSlots::new(1, Arc::clone(&instance.wake)),
            jobs: sender,
        };
        let claim = || {
            let row = ClaimedRow {
                job_id: "job".to_owned(),
                payload: Vec::new(),
                attempt: 1,
                max_attempts: 1,
            };
            let slot = queue.slots.reserve(1).take().expect("a free slot");
            ClaimedJob::open(&instance, &instance.id(), row, slot)
        };
        let free = || queue.slots.reserve(9).len();

        hand_over(&queue, claim());
        assert_eq!((free(), instance.open_runs().len(), instance.running.len()), (0, 1, 1));
        drop(receiver);
        assert_eq!((free(), instance.open_runs().len(), instance.running.len()), (1, 0, 0));

        hand_over(&queue, claim());
        assert_eq!((free(), instance.open_runs().len(), instance.running.len()), (1, 0, 0));
    }
}
