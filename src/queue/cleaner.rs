//! Forgetting: what is done after a day, what is dead after a month.

use std::sync::Arc;
use std::time::Duration;

use crate::QueueError;
use crate::instance::Shared;
use crate::timeout::with_timeout;

/// How long a done job is remembered. Its key keeps the same job from being enqueued again for as long.
const KEEP_DONE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a dead job is kept for the operator.
const KEEP_DEAD: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The most jobs forgotten in one statement.
const BATCH: u64 = 1000;
/// How often a worker process forgets. Several at once skip each other's rows.
const EVERY: Duration = Duration::from_secs(10 * 60);

/// Forgets now and then, until it is dropped.
pub(crate) async fn run_cleaner_loop(shared: Arc<Shared>) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let pruned = async {
            while with_timeout(prune(&shared)).await? == BATCH {}
            Ok::<_, QueueError>(())
        };
        if let Err(error) = pruned.await {
            tracing::warn!(%error, "forgetting old jobs failed; next time");
        }
    }
}

/// Forgets one batch; gives how many, fewer than [`BATCH`] when nothing old is left.
async fn prune(shared: &Shared) -> Result<u64, QueueError> {
    let done = sqlx::query(
        "DELETE FROM apalis.jobs WHERE id IN (
             SELECT id FROM apalis.jobs
             WHERE status IN ('Done', 'Killed') AND done_at < now() - make_interval(secs => $1)
                   AND (status = 'Done' OR done_at < now() - make_interval(secs => $2))
             ORDER BY done_at LIMIT $3 FOR UPDATE SKIP LOCKED)",
    )
    .bind(KEEP_DONE.as_secs_f64())
    .bind(KEEP_DEAD.as_secs_f64())
    .bind(i64::try_from(BATCH).unwrap_or(i64::MAX))
    .execute(&shared.pool)
    .await?;
    Ok(done.rows_affected())
}
