//! Outcomes of runs, written in batches, tried until Postgres has them or refuses them, and void for a run that was taken
//! away. One that is refused keeps no other waiting.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::PgConnection;
use tokio::sync::mpsc;

use crate::disposition::Disposition;
use crate::enqueue::{CANCEL, WAKE_CHANNEL};
use crate::instance::Shared;
use crate::on_failure::enqueue_on_failure_jobs;
use crate::timeout::with_timeout;
use crate::{JobId, QueueError};

/// How many outcomes may wait to be written before runs wait to report theirs.
pub(crate) const BACKLOG: usize = 1024;
/// The most outcomes in one statement.
const BATCH: usize = 128;
/// The pause before an outcome is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// The outcome of a run.
#[derive(Debug, Clone)]
pub(crate) struct Ack {
    pub(crate) job_id: JobId,
    pub(crate) instance: Arc<str>,
    pub(crate) attempt: u32,
    pub(crate) disposition: Disposition,
}

/// Writes outcomes until the channel is closed and empty.
pub(crate) async fn write_acks(shared: Arc<Shared>, mut acks: mpsc::Receiver<Ack>) {
    let mut batch = Vec::with_capacity(BATCH);
    while acks.recv_many(&mut batch, BATCH).await > 0 {
        match write(&shared, &batch).await {
            Ok(()) => close_runs(&shared, &batch),
            Err(error) => {
                tracing::warn!(%error, outcomes = batch.len(), "outcomes of jobs were refused; now one by one");
                for ack in &batch {
                    write_one(&shared, ack).await;
                }
            }
        }
        shared.unwritten.fetch_sub(batch.len(), Ordering::AcqRel);
        batch.clear();
    }
}

fn close_runs(shared: &Shared, written: &[Ack]) {
    for ack in written {
        shared.close_run(&ack.instance, &ack.job_id, ack.attempt);
    }
}

/// Writes an outcome, if need be without its reason, which may hold what Postgres cannot store. One that is refused even
/// so is dropped: the job stays ours, and the lease gives it to others when this process has left.
async fn write_one(shared: &Shared, ack: &Ack) {
    let alone = std::slice::from_ref(ack);
    let mut written = write(shared, alone).await;
    if written.is_err() && ack.disposition != ack.disposition.without_reason() {
        let plain = Ack {
            disposition: ack.disposition.without_reason(),
            ..ack.clone()
        };
        written = write(shared, &[plain]).await;
    }
    match written {
        Ok(()) => close_runs(shared, alone),
        Err(error) => tracing::error!(%error, job_id = ack.job_id, "the outcome of a job was refused and is dropped"),
    }
}

/// Writes outcomes, however long Postgres is away.
///
/// # Errors
/// When Postgres refuses them.
async fn write(shared: &Shared, batch: &[Ack]) -> Result<(), QueueError> {
    loop {
        let written = with_timeout(async {
            let mut connection = shared.pool.acquire().await?;
            complete_batch(&mut connection, batch).await
        });
        match written.await {
            Err(error) if error.is_unavailable() => {
                tracing::warn!(%error, outcomes = batch.len(), "outcomes of jobs could not be written yet");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            done => return done,
        }
    }
}

/// One statement: outcomes, heirs of the dead, and a wake-up for what is ready again.
async fn complete_batch(conn: &mut PgConnection, batch: &[Ack]) -> Result<(), QueueError> {
    let (mut ids, mut instances, mut attempts, mut statuses, mut delays, mut refunds, mut results) =
        (vec![], vec![], vec![], vec![], vec![], vec![], vec![]);
    for ack in batch {
        let (status, delay, refund, result) = match &ack.disposition {
            Disposition::Complete => ("Done", Duration::ZERO, 0, serde_json::json!({"Ok": null})),
            Disposition::Retry { after, reason } => ("Pending", *after, 0, serde_json::json!({"Err": reason})),
            Disposition::Discard { reason } => ("Killed", Duration::ZERO, 0, serde_json::json!({"Err": reason})),
            Disposition::Release { after, reason } => ("Pending", *after, 1, serde_json::json!({"Err": reason})),
        };
        ids.push(ack.job_id.as_str());
        instances.push(&*ack.instance);
        attempts.push(i32::try_from(ack.attempt).unwrap_or(i32::MAX));
        statuses.push(status);
        delays.push(delay.as_secs_f64());
        refunds.push(refund);
        results.push(result);
    }
    sqlx::query(concat!(
        "WITH settled AS (
             UPDATE apalis.jobs j
             SET status = a.status, attempts = j.attempts - a.refund, last_result = a.result,
                 -- What is to be cancelled need not wait, and what was begun already goes first.
                 run_at = CASE WHEN a.status <> 'Pending' THEN j.run_at
                               WHEN COALESCE(j.metadata ? $9, false) THEN now()
                               ELSE now() + make_interval(secs => a.delay) END,
                 priority = CASE WHEN a.status = 'Pending' AND a.delay = 0 THEN GREATEST(j.priority, 1) ELSE j.priority END,
                 done_at = CASE WHEN a.status = 'Pending' THEN NULL ELSE now() END,
                 lock_by = NULL, lock_at = NULL
             FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::float8[], $6::int[], $7::jsonb[])
                  AS a (id, instance, attempt, status, delay, refund, result)
             WHERE j.id = a.id AND j.lock_by = a.instance AND j.attempts = a.attempt AND j.status = 'Running'
             RETURNING j.id, j.job, j.status, j.run_at, j.metadata
         ), heirs AS (
             ",
        enqueue_on_failure_jobs!("settled"),
        "
         )
         SELECT pg_notify($8, '')::text FROM settled WHERE status = 'Pending' AND run_at <= now() LIMIT 1",
    ))
    .bind(ids)
    .bind(instances)
    .bind(attempts)
    .bind(statuses)
    .bind(delays)
    .bind(refunds)
    .bind(results)
    .bind(WAKE_CHANNEL)
    .bind(CANCEL)
    .execute(conn)
    .await?;
    Ok(())
}
