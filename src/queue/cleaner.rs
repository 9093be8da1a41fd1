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
/// The most jobs deleted in one statement.
const BATCH: u64 = 1000;
/// How often a worker process cleans. Several at once skip each other's rows.
const INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Cleans until it is dropped.
pub(crate) async fn run_cleaner_loop(instance: Arc<Instance>) {
    let mut every = tokio::time::interval(INTERVAL);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let cleaned = async {
            while with_timeout(delete_batch(&instance)).await? == BATCH {}
            Ok::<_, QueueError>(())
        };
        if let Err(error) = cleaned.await {
            tracing::warn!(%error, "deleting old jobs failed; the next interval tries again");
        }
    }
}

/// Deletes one batch. Gives how many, fewer than [`BATCH`] when no old job is left.
async fn delete_batch(instance: &Instance) -> Result<u64, QueueError> {
    let done = sqlx::query(
        "DELETE FROM apalis.jobs WHERE id IN (
             SELECT id FROM apalis.jobs
             WHERE status IN ('Done', 'Killed') AND done_at < now() - make_interval(secs => $1)
                   AND (status = 'Done' OR done_at < now() - make_interval(secs => $2))
             ORDER BY done_at LIMIT $3 FOR UPDATE SKIP LOCKED)",
    )
    .bind(KEEP_COMPLETED.as_secs_f64())
    .bind(KEEP_DEAD.as_secs_f64())
    .bind(i64::try_from(BATCH).unwrap_or(i64::MAX))
    .execute(&instance.pool)
    .await?;
    Ok(done.rows_affected())
}
