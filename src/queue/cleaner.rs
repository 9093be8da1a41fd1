//! Deletes jobs that are over: completed ones after a day, dead and cancelled ones after a month.

use std::sync::Arc;
use std::time::Duration;

use crate::error::QueueError;
use crate::instance::Instance;
use crate::statement_timeout::with_timeout;

/// How long a completed job is kept. Its key prevents the same job from being enqueued again for as long.
const KEEP_COMPLETED: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a dead or cancelled job is kept for the operator.
const KEEP_DEAD: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// What is deleted, by its status, and how long it is kept.
const KEPT: [(&str, Duration); 2] = [("Done", KEEP_COMPLETED), ("Killed", KEEP_DEAD)];
/// The most jobs deleted in one statement.
const MAX_BATCH: u64 = 1000;
/// The fewest jobs that a statement is tried with.
const MIN_BATCH: u64 = 10;
/// How often a worker process cleans. Several at once skip each other's rows.
const INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Cleans until it is dropped.
pub(crate) async fn run_cleaner_loop(instance: Arc<Instance>) {
    let mut every = tokio::time::interval(INTERVAL);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        for (status, kept) in KEPT {
            delete_old(&instance, status, kept).await;
        }
    }
}

/// Deletes the jobs with this status that are over for longer than they are kept, in batches, which are halved when Postgres
/// does not finish one in time.
async fn delete_old(instance: &Instance, status: &'static str, kept: Duration) {
    let mut batch = MAX_BATCH;
    loop {
        match with_timeout(delete_batch(instance, status, kept, batch)).await {
            Ok(deleted) if deleted < batch => return,
            Ok(_) => batch = (batch * 2).min(MAX_BATCH),
            Err(error) if error.is_unavailable() && batch > MIN_BATCH => {
                batch = (batch / 2).max(MIN_BATCH);
                tracing::debug!(%error, batch, "deleting old jobs failed; trying fewer at a time");
            }
            Err(error) => {
                tracing::warn!(%error, status, "deleting old jobs failed; the next interval tries again");
                return;
            }
        }
    }
}

/// Deletes one batch. Gives how many, fewer than `batch` when no old job is left.
async fn delete_batch(
    instance: &Instance,
    status: &'static str,
    kept: Duration,
    batch: u64,
) -> Result<u64, QueueError> {
    // The first condition is that of the index.
    let done = sqlx::query(
        "DELETE FROM apalis.jobs WHERE id IN (
             SELECT id FROM apalis.jobs
             WHERE status IN ('Done', 'Killed') AND status = $1 AND done_at < now() - make_interval(secs => $2)
             ORDER BY done_at LIMIT $3 FOR UPDATE SKIP LOCKED)",
    )
    .bind(status)
    .bind(kept.as_secs_f64())
    .bind(i64::try_from(batch).unwrap_or(i64::MAX))
    .execute(&instance.pool)
    .await?;
    Ok(done.rows_affected())
}
