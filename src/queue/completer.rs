//! Writes outcomes of runs in batches: retried until Postgres has them or refuses them, and void for a run whose lease was
//! lost. One that is refused delays no other.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use tokio::sync::mpsc;

use crate::cancel::{CANCEL_KEY, cancelled_by_operator};
use crate::claimed_job::Claim;
use crate::disposition::Disposition;
use crate::enqueue::READY_KEY;
use crate::error::QueueError;
use crate::instance::Instance;
use crate::notify_channels::WAKE_CHANNEL;
use crate::on_failure::enqueue_on_failure_jobs;
use crate::outage::Outage;
use crate::statement_timeout::with_timeout;

/// How many outcomes may wait to be written before runs wait to report theirs.
pub(crate) const BACKLOG: usize = 1024;
/// The most outcomes in one statement.
const BATCH: usize = 128;
/// The pause before an outcome is written again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// The outcome of a run. The claim is dropped when it is written or refused.
pub(crate) struct Completion {
    pub(crate) claim: Claim,
    pub(crate) disposition: Disposition,
}

/// Writes outcomes until the channel is closed and empty.
pub(crate) async fn run_completer_loop(instance: Arc<Instance>, mut completions: mpsc::Receiver<Completion>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut outage = Outage::of("writing the outcomes of jobs");
    loop {
        if batch.is_empty() {
            if completions.recv_many(&mut batch, BATCH).await == 0 {
                return;
            }
        } else {
            tokio::time::sleep(RETRY_PAUSE).await;
            // New outcomes do not wait for those that cannot be written yet.
            while batch.len() < BATCH
                && let Ok(completion) = completions.try_recv()
            {
                batch.push(completion);
            }
        }
        batch = write(&instance, batch, &mut outage).await;
    }
}

/// Writes outcomes; returns those that are to be written later. Outcomes whose claim is dropped here are written or refused.
async fn write(instance: &Instance, batch: Vec<Completion>, outage: &mut Outage) -> Vec<Completion> {
    let Err(error) = try_write(instance, &batch).await else {
        outage.worked();
        return Vec::new();
    };
    // Another transaction may have locked a single job: the others must not wait for it.
    let may_be_about_one = !error.is_unavailable() || error.is_lock_timeout();
    if !may_be_about_one || (batch.len() == 1 && error.is_lock_timeout()) {
        outage.failed(&error);
        return batch;
    }
    tracing::warn!(%error, outcomes = batch.len(), "outcomes of jobs were not written; writing them one by one");
    let mut later = Vec::new();
    for completion in batch {
        later.extend(write_one(instance, completion).await);
    }
    later
}

/// Writes an outcome, if need be without its reason, which may hold what Postgres cannot store. One that is refused even
/// so is dropped: the job stays claimed, and is rescued when this process has left. Returns one that is to be written later.
async fn write_one(instance: &Instance, mut completion: Completion) -> Option<Completion> {
    let mut written = try_write(instance, std::slice::from_ref(&completion)).await;
    let plain = completion.disposition.without_reason();
    if written.as_ref().is_err_and(|error| !error.is_unavailable()) && completion.disposition != plain {
        completion.disposition = plain;
        written = try_write(instance, std::slice::from_ref(&completion)).await;
    }
    match written {
        Ok(()) => None,
        Err(error) if error.is_unavailable() => Some(completion),
        Err(error) => {
            completion.claim.keep_run_open();
            let job_id = &completion.claim.run.job_id;
            tracing::error!(%error, job_id, "the outcome of a job was refused and is dropped");
            None
        }
    }
}

async fn try_write(instance: &Instance, batch: &[Completion]) -> Result<(), QueueError> {
    with_timeout(async {
        let mut connection = instance.pool.acquire().await?;
        complete_batch(&mut connection, batch).await
    })
    .await
}

/// Writes outcomes, enqueues the on-failure jobs of those that were discarded, and wakes workers if a job is ready again, in
/// one statement.
async fn complete_batch(conn: &mut PgConnection, batch: &[Completion]) -> Result<(), QueueError> {
    let (mut ids, mut instances, mut attempts, mut statuses, mut delays, mut refunds, mut results) =
        (vec![], vec![], vec![], vec![], vec![], vec![], vec![]);
    for Completion { claim, disposition } in batch {
        let (status, delay, refund, result) = match disposition {
            Disposition::Complete => ("Done", Duration::ZERO, 0, serde_json::json!({"Ok": null})),
            Disposition::Retry { after, reason } => ("Pending", *after, 0, serde_json::json!({"Err": reason})),
            Disposition::Discard { reason } => ("Killed", Duration::ZERO, 0, serde_json::json!({"Err": reason})),
            Disposition::Snooze { after, reason } => ("Pending", *after, 1, serde_json::json!({"Err": reason})),
            Disposition::Release => {
                let result = serde_json::json!({"Err": "released for another worker"});
                ("Pending", Duration::ZERO, 1, result)
            }
        };
        ids.push(claim.run.job_id.as_str());
        instances.push(&*claim.run.instance_id);
        attempts.push(i32::try_from(claim.run.attempt).unwrap_or(i32::MAX));
        statuses.push(status);
        delays.push(delay.as_secs_f64());
        refunds.push(refund);
        results.push(result);
    }
    // `finish_answer` (migration 0044) completes the job of an answer with the same guard and columns.
    sqlx::query(concat!(
        "WITH completed AS (
             UPDATE apalis.jobs j
             SET status = CASE WHEN a.status = 'Pending' AND ",
        cancelled_by_operator!("j"),
        " THEN 'Killed' ELSE a.status END,
                 attempts = j.attempts - a.refund, last_result = a.result,
                 metadata = j.metadata - $10::text,
                 -- A job to be cancelled need not wait, nor one that was made ready while it found that it has to.
                 run_at = CASE WHEN a.status <> 'Pending' THEN j.run_at
                               WHEN COALESCE(j.metadata ? $9 OR (j.metadata ? $10 AND a.refund = 1), false) THEN now()
                               ELSE now() + make_interval(secs => a.delay) END,
                 -- One that has begun goes before others.
                 priority = CASE WHEN a.status = 'Pending' AND a.delay = 0 THEN GREATEST(j.priority, 1) ELSE j.priority END,
                 done_at = CASE WHEN a.status = 'Pending' AND NOT ",
        cancelled_by_operator!("j"),
        " THEN NULL ELSE now() END,
                 lock_by = NULL, lock_at = NULL
             FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::float8[], $6::int[], $7::jsonb[])
                  AS a (id, instance, attempt, status, delay, refund, result)
             -- By the id, whatever the planner knows of the table: no index has these expressions.
             WHERE j.id = a.id AND j.lock_by || '' = a.instance AND j.attempts = a.attempt AND j.status || '' = 'Running'
             RETURNING j.id, j.job, j.status, j.attempts, j.run_at, j.metadata
         ), on_failure AS (
             ",
        enqueue_on_failure_jobs!("completed"),
        "
         )
         SELECT pg_notify($8, '')::text FROM (
             SELECT id FROM completed WHERE status = 'Pending' AND run_at <= now() UNION ALL SELECT id FROM on_failure
         ) ready LIMIT 1",
    ))
    .bind(ids)
    .bind(instances)
    .bind(attempts)
    .bind(statuses)
    .bind(delays)
    .bind(refunds)
    .bind(results)
    .bind(WAKE_CHANNEL)
    .bind(CANCEL_KEY)
    .bind(READY_KEY)
    .execute(conn)
    .await?;
    Ok(())
}
