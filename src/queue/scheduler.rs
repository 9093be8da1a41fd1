//! Enqueues scheduled jobs: every worker process enqueues the job of the present period, whose key makes it one job.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{PgConnection, Row};
use tokio_util::sync::CancellationToken;

use crate::enqueue::{Enqueued, enqueue};
use crate::error::QueueError;
use crate::instance::Instance;
use crate::job::Job;
use crate::statement_timeout::with_timeout;

/// How often a process checks whether a new period has begun.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);
/// The pause after a job could not be enqueued.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Enqueues `job(period)` once in each period of length `every`, counted from the epoch on Postgres' clock. Periods are
/// longer than a minute and shorter than a day, for which completed jobs are kept.
pub(crate) async fn run_scheduler_loop<J: Job>(instance: Arc<Instance>, every: Duration, job: fn(i64) -> J) {
    let draining: CancellationToken = instance.draining.clone();
    while !draining.is_cancelled() {
        let mut pause = CHECK_INTERVAL.min(every);
        match with_timeout(enqueue_present(&instance, every, job)).await {
            Ok(Enqueued::New(job_id)) => tracing::info!(queue = J::QUEUE, job_id, "a scheduled job is due"),
            Ok(Enqueued::Duplicate) => {}
            Err(error) => {
                tracing::debug!(queue = J::QUEUE, %error, "a scheduled job could not be enqueued yet");
                pause = RETRY_PAUSE;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = draining.cancelled() => {}
        }
    }
}

/// How many periods of this length a day has: for so long a job of an earlier one may still be at work.
pub const fn periods_of_a_day(every: Duration) -> i64 {
    const DAY: u64 = 24 * 60 * 60;
    DAY.div_ceil(every.as_secs()).cast_signed()
}

/// The number of the present period of this length, counted from the epoch on Postgres' clock.
pub async fn present_period(conn: &mut PgConnection, every: Duration) -> Result<i64, QueueError> {
    let period = sqlx::query("SELECT floor(extract(epoch FROM now()) / $1)::bigint");
    let row = period.bind(every.as_secs_f64()).fetch_one(conn).await?;
    Ok(row.try_get(0)?)
}

async fn enqueue_present<J: Job>(
    instance: &Instance,
    every: Duration,
    job: fn(i64) -> J,
) -> Result<Enqueued, QueueError> {
    let mut connection = instance.pool.acquire().await?;
    let period = present_period(&mut connection, every).await?;
    enqueue(&mut connection, &job(period)).await
}
