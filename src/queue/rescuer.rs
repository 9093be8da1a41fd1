//! The lease: this instance says every half second that it lives, learns which of its jobs are cancelled, and gives the
//! jobs of instances that fell silent to others. None of it depends on how busy the jobs keep the process.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sqlx::Row;
use tokio::time::Instant;

use crate::enqueue::{CANCEL, WAKE_CHANNEL};
use crate::instance::Shared;
use crate::on_failure::enqueue_on_failure_jobs;
use crate::timeout::with_timeout;
use crate::{QueueError, StopReason, WorkersConfig};

/// What marks our rows in apalis' table of workers.
const STORAGE: &str = "cura";

/// How long this instance has seen Postgres without a gap, and so may say who fell silent.
struct Watch {
    /// The last answer.
    seen: Instant,
    /// The first answer since the last gap.
    unbroken: Option<Instant>,
}

impl Watch {
    fn begin(now: Instant) -> Self {
        Self {
            seen: now,
            unbroken: None,
        }
    }

    /// Postgres answers at `now`; whether that makes us a witness.
    fn answered(&mut self, now: Instant, config: &WorkersConfig) -> bool {
        // A process that was frozen has not been watching either, even if its queries worked: they may have been under way
        // all the while. The others may have been frozen with it.
        if now.duration_since(self.seen) > config.dead_after {
            self.unbroken = None;
        }
        self.seen = now;
        let since = *self.unbroken.get_or_insert(now);
        now.duration_since(since) >= config.witness
    }

    /// Postgres does not answer.
    fn interrupted(&mut self) {
        self.unbroken = None;
    }
}

/// Renews until `shared.draining` and every run has ended; the caller aborts it then.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let mut renew = tokio::time::interval(shared.config.renew);
    renew.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut watch = Watch::begin(Instant::now());
    loop {
        tokio::select! {
            _ = renew.tick() => {}
            () = shared.check_lease.notified() => {}
        }
        match with_timeout(beat(&shared)).await {
            Ok(cancelled) => {
                for job_id in cancelled {
                    shared.stop_run(&job_id, StopReason::Cancelled);
                }
                if watch.answered(Instant::now(), &shared.config)
                    && let Err(error) = with_timeout(reap(&shared)).await
                {
                    tracing::warn!(%error, "looking for dead workers failed");
                }
            }
            Err(error) => {
                watch.interrupted();
                tracing::warn!(%error, "renewing the worker's lease failed");
                if watch.seen.elapsed() > shared.config.isolation && shared.leased.load(Ordering::Acquire) {
                    tracing::error!("Postgres has been away for too long: running jobs are given up");
                    shared.lose_lease();
                }
            }
        }
    }
}

/// Registers, or renews and gives the jobs of ours that somebody wants cancelled.
async fn beat(shared: &Shared) -> Result<Vec<String>, QueueError> {
    let instance = shared.instance();
    if !shared.leased.load(Ordering::Acquire) {
        sqlx::query(
            "INSERT INTO apalis.workers (id, worker_type, storage_name, layers, last_seen, started_at)
             VALUES ($1, $2, $2, '', now(), now()) ON CONFLICT (id) DO UPDATE SET last_seen = now()",
        )
        .bind(&*instance)
        .bind(STORAGE)
        .execute(&shared.pool)
        .await?;
        shared.leased.store(true, Ordering::Release);
        shared.wake.notify_one();
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "WITH beat AS (UPDATE apalis.workers SET last_seen = now() WHERE id = $1 RETURNING id)
         SELECT beat.id IS NOT NULL, array(
             SELECT id FROM apalis.jobs WHERE lock_by = $1 AND status = 'Running' AND metadata ? $2
         ) FROM (SELECT 1) one LEFT JOIN beat ON true",
    )
    .bind(&*instance)
    .bind(CANCEL)
    .fetch_one(&shared.pool)
    .await?;
    if !rows.try_get::<bool, _>(0)? {
        tracing::error!("this worker was declared dead: running jobs are given up");
        shared.lose_lease();
        return Ok(Vec::new());
    }
    Ok(rows.try_get(1)?)
}

/// Gives the jobs of silent instances to others, and makes those dead that have used up their attempts.
async fn reap(shared: &Shared) -> Result<(), QueueError> {
    let row = sqlx::query(concat!(
        "WITH dead AS (
             SELECT id FROM apalis.workers
             WHERE worker_type = $1 AND last_seen < now() - make_interval(secs => $2)
             ORDER BY id FOR UPDATE SKIP LOCKED
         ), freed AS (
             UPDATE apalis.jobs
             SET status = CASE WHEN attempts < max_attempts THEN 'Pending' ELSE 'Killed' END,
                 run_at = CASE WHEN attempts < max_attempts THEN now() ELSE run_at END,
                 -- Somebody watches what was begun already.
                 priority = GREATEST(priority, 1),
                 done_at = CASE WHEN attempts < max_attempts THEN NULL ELSE now() END,
                 last_result = '{\"Err\": \"the worker died\"}', lock_by = NULL, lock_at = NULL
             WHERE lock_by IN (SELECT id FROM dead) AND status = 'Running'
             RETURNING id, job, status, metadata
         ), heirs AS (
             ",
        enqueue_on_failure_jobs!("freed"),
        "
         ), gone AS (
             DELETE FROM apalis.workers WHERE id IN (SELECT id FROM dead)
         ), woken AS (
             SELECT pg_notify($3, '') FROM freed WHERE status = 'Pending' LIMIT 1
         )
         SELECT (SELECT count(*) FROM dead), (SELECT count(*) FROM freed), (SELECT count(*) FROM woken)",
    ))
    .bind(STORAGE)
    .bind(shared.config.dead_after.as_secs_f64())
    .bind(WAKE_CHANNEL)
    .fetch_one(&shared.pool)
    .await?;
    let (dead, freed): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    if dead > 0 {
        tracing::warn!(
            workers = dead,
            jobs = freed,
            "workers fell silent; their jobs go to others"
        );
    }
    Ok(())
}

/// Leaves: after it, nobody waits for this instance to fall silent.
pub(crate) async fn leave(shared: &Shared) -> Result<(), QueueError> {
    let instance = shared.instance();
    with_timeout(async {
        sqlx::query("DELETE FROM apalis.workers w WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM apalis.jobs WHERE lock_by = w.id)")
            .bind(&*instance)
            .execute(&shared.pool)
            .await?;
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_who_has_watched_without_a_gap_is_a_witness() {
        let config = WorkersConfig::default();
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let mut watch = Watch::begin(begun);
        assert!(!watch.answered(at(100), &config));
        assert!(!watch.answered(at(2000), &config));
        assert!(watch.answered(at(2100), &config));
        watch.interrupted();
        assert!(!watch.answered(at(2600), &config));
        assert!(!watch.answered(at(4500), &config));
        assert!(watch.answered(at(4600), &config));
    }

    /// The machine pauses while an answer is on its way: it comes, late, and everybody else looks dead.
    #[test]
    fn who_was_frozen_between_two_answers_is_no_witness() {
        let config = WorkersConfig::default();
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let mut watch = Watch::begin(begun);
        for ms in [0, 1000, 2000] {
            watch.answered(at(ms), &config);
        }
        assert!(!watch.answered(at(4001), &config));
        assert!(!watch.answered(at(6000), &config));
        assert!(watch.answered(at(6001), &config));
    }
}
