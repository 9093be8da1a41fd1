//! The heartbeat: this instance renews its lease every half second, learns which of its jobs are to be cancelled and which queues
//! are paused, and rescues the jobs of instances whose heartbeats have stopped. With it, instances tell each other whether what jobs depend on works. None of it depends on how busy the jobs keep the process.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::Row;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::cancel::CANCEL_KEY;
use crate::clock_steps::ClockSteps;
use crate::dependency::SUCCESS_TOLD_FOR;
use crate::error::QueueError;
use crate::instance::Instance;
use crate::outage::Outage;
use crate::peers::Peers;
use crate::rescuer::{WORKER_TYPE, rescue};
use crate::run::StopReason;
use crate::statement_timeout::with_timeout;

/// A worker with a heartbeat within this time is reported as alive. Longer than a lease, so that a slow moment of Postgres is
/// not reported as an outage.
pub(crate) const ALIVE_WITHIN: Duration = Duration::from_secs(5);

/// Renews until it is aborted, which a shutdown does when every outcome is written.
pub(crate) async fn run_heartbeat_loop(instance: Arc<Instance>) {
    let mut beat = interval(instance.config.heartbeat_interval);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut peers = Peers::new(Instant::now());
    let mut clock_steps = ClockSteps::default();
    let mut told_successes = 0;
    let mut renewing = Outage::of("renewing the worker's lease");
    let mut checking = Outage::of("checking for workers that stopped");
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = instance.check_orders.notified() => {}
        }
        let successes = instance.dependency.successes();
        match with_timeout(renew(&instance, successes > told_successes)).await {
            Ok(renewed) => {
                renewing.worked();
                told_successes = successes;
                if renewed.worked_somewhere {
                    instance.dependency.worked_somewhere();
                }
                let now = Instant::now();
                instance.set_paused(renewed.paused);
                for job_id in renewed.cancelled {
                    instance.stop_run(&job_id, StopReason::Cancelled);
                }
                clock_steps.read(renewed.clock, now);
                if let Err(error) = clock_steps.move_jobs(&instance).await {
                    tracing::warn!(%error, "Postgres' clock was set back; cannot move the jobs yet");
                }
                peers.answered(now, &instance.config);
                match rescue(&instance, &mut peers).await {
                    Ok(_) => checking.worked(),
                    Err(error) => checking.failed(&error),
                }
            }
            Err(error) => {
                peers.interrupted();
                renewing.failed(&error);
                let isolated = peers.last_answer().elapsed() > instance.config.isolation_timeout;
                if isolated && instance.leased.load(Ordering::Acquire) {
                    tracing::error!("Postgres has been unreachable for too long; stopping running jobs");
                    instance.lose_lease();
                }
            }
        }
    }
}

/// What Postgres says when the lease is renewed.
struct Renewed {
    /// The running jobs that are to be cancelled.
    cancelled: Vec<String>,
    /// The queues that are paused, by name.
    paused: Vec<String>,
    /// Its clock, in seconds since the epoch.
    clock: f64,
    /// Whether what the jobs depend on has worked lately for any instance; asked only where that is waited for.
    worked_somewhere: bool,
}

/// Registers this instance, or renews its lease, and says whether what the jobs depend on `has_worked` since the last time.
async fn renew(instance: &Instance, has_worked: bool) -> Result<Renewed, QueueError> {
    let id = instance.id();
    if !instance.leased.load(Ordering::Acquire) {
        register(instance, &id).await?;
    }
    let row = sqlx::query(
        "WITH renewed AS (UPDATE apalis.workers SET beats = beats + 1, last_seen = now(), fault = $3,
                                 failing_services = $7, report = $8,
                                 worked_at = CASE WHEN $4 THEN now() ELSE worked_at END
                          WHERE id = $1 RETURNING id)
         SELECT renewed.id IS NOT NULL, array(
             SELECT id FROM apalis.jobs WHERE lock_by = $1 AND status = 'Running' AND metadata ? $2
         ), extract(epoch FROM now())::float8,
         $5 AND EXISTS (SELECT 1 FROM apalis.workers WHERE worked_at > now() - make_interval(secs => $6)),
         array(SELECT queue FROM paused_queues ORDER BY queue)
         FROM (SELECT 1) one LEFT JOIN renewed ON true",
    )
    .bind(&*id)
    .bind(CANCEL_KEY)
    .bind(instance.dependency.fault())
    .bind(has_worked)
    .bind(instance.dependency.awaits_success())
    .bind(SUCCESS_TOLD_FOR.as_secs_f64())
    .bind(instance.dependency.failing_services())
    .bind(instance.dependency.report())
    .fetch_one(&instance.pool)
    .await?;
    let mut cancelled = row.try_get(1)?;
    if !row.try_get::<bool, _>(0)? {
        tracing::error!("this worker was declared dead; stopping running jobs");
        instance.lose_lease();
        cancelled = Vec::new();
    }
    Ok(Renewed {
        cancelled,
        paused: row.try_get(4)?,
        clock: row.try_get(2)?,
        worked_somewhere: row.try_get(3)?,
    })
}

async fn register(instance: &Instance, id: &str) -> Result<(), QueueError> {
    sqlx::query(
        "INSERT INTO apalis.workers (id, worker_type, storage_name, layers, last_seen, started_at, queues)
         VALUES ($1, $2, $2, '', now(), now(), $3)
         ON CONFLICT (id) DO UPDATE SET beats = apalis.workers.beats + 1, last_seen = now(), queues = $3",
    )
    .bind(id)
    .bind(WORKER_TYPE)
    .bind(&instance.queues)
    .execute(&instance.pool)
    .await?;
    instance.leased.store(true, Ordering::Release);
    instance.wake.notify_one();
    Ok(())
}

/// Ends the lease, so that no peer has to wait until it expires. An instance that still holds jobs keeps it, and is rescued.
pub(crate) async fn deregister(instance: &Instance) -> Result<(), QueueError> {
    let id = instance.id();
    with_timeout(async {
        sqlx::query("DELETE FROM apalis.workers w WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM apalis.jobs WHERE lock_by = w.id)")
            .bind(&*id)
            .execute(&instance.pool)
            .await?;
        Ok(())
    })
    .await
}
