//! Takes over from instances that died: their jobs are ready again, or discarded when their attempts are used up.
//!
//! Only an instance that has reached Postgres without a gap for long enough may declare others dead: after an outage of
//! Postgres, or when the machine was frozen, every lease looks expired.

use sqlx::Row;
use tokio::time::Instant;

use crate::config::WorkersConfig;
use crate::error::QueueError;
use crate::instance::Instance;
use crate::notify_channels::WAKE_CHANNEL;
use crate::on_failure::enqueue_on_failure_jobs;

/// What marks our rows in apalis' table of workers.
pub(crate) const WORKER_TYPE: &str = "cura";

/// How long this instance has reached Postgres without a gap.
pub(crate) struct Contact {
    last_answer: Instant,
    /// The first answer since the last gap.
    unbroken_since: Option<Instant>,
}

impl Contact {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            last_answer: now,
            unbroken_since: None,
        }
    }

    /// When Postgres answered last.
    pub(crate) fn last_answer(&self) -> Instant {
        self.last_answer
    }

    /// Records that Postgres answers at `now`; gives whether this instance may declare others dead.
    pub(crate) fn answered(&mut self, now: Instant, config: &WorkersConfig) -> bool {
        // A process that was frozen had no contact either, even if its queries worked: they may have been under way all the
        // while. The others may have been frozen with it.
        if now.duration_since(self.last_answer) > config.lease {
            self.unbroken_since = None;
        }
        self.last_answer = now;
        let since = *self.unbroken_since.get_or_insert(now);
        now.duration_since(since) >= config.rescue_after
    }

    /// Records that Postgres does not answer.
    pub(crate) fn interrupted(&mut self) {
        self.unbroken_since = None;
    }
}

/// Releases the jobs of instances whose lease has expired, and discards those that have used up their attempts.
pub(crate) async fn rescue(instance: &Instance) -> Result<(), QueueError> {
    let row = sqlx::query(concat!(
        "WITH dead AS (
             SELECT id FROM apalis.workers
             WHERE worker_type = $1 AND last_seen < now() - make_interval(secs => $2)
             ORDER BY id FOR UPDATE SKIP LOCKED
         ), rescued AS (
             UPDATE apalis.jobs
             SET status = CASE WHEN attempts < max_attempts THEN 'Pending' ELSE 'Killed' END,
                 run_at = CASE WHEN attempts < max_attempts THEN now() ELSE run_at END,
                 -- One that has begun goes before others: people watch it.
                 priority = GREATEST(priority, 1),
                 done_at = CASE WHEN attempts < max_attempts THEN NULL ELSE now() END,
                 last_result = '{\"Err\": \"the worker died\"}', lock_by = NULL, lock_at = NULL
             WHERE lock_by IN (SELECT id FROM dead) AND status = 'Running'
             RETURNING id, job, status, metadata
         ), on_failure AS (
             ",
        enqueue_on_failure_jobs!("rescued"),
        "
         ), gone AS (
             DELETE FROM apalis.workers WHERE id IN (SELECT id FROM dead)
         ), woken AS (
             SELECT pg_notify($3, '') FROM rescued WHERE status = 'Pending' LIMIT 1
         )
         SELECT (SELECT count(*) FROM dead), (SELECT count(*) FROM rescued), (SELECT count(*) FROM woken)",
    ))
    .bind(WORKER_TYPE)
    .bind(instance.config.lease.as_secs_f64())
    .bind(WAKE_CHANNEL)
    .fetch_one(&instance.pool)
    .await?;
    let (dead, rescued): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    if dead > 0 {
        tracing::warn!(
            workers = dead,
            jobs = rescued,
            "workers missed heartbeats; releasing their jobs"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_contact_without_a_gap_permits_a_rescue() {
        let config = WorkersConfig::default();
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let mut contact = Contact::new(begun);
        assert!(!contact.answered(at(100), &config));
        assert!(!contact.answered(at(2000), &config));
        assert!(contact.answered(at(2100), &config));
        contact.interrupted();
        assert!(!contact.answered(at(2600), &config));
        assert!(!contact.answered(at(4500), &config));
        assert!(contact.answered(at(4600), &config));
    }

    /// The machine pauses while an answer is on its way: it comes late, and every other lease looks expired.
    #[test]
    fn a_freeze_between_two_answers_is_a_gap() {
        let config = WorkersConfig::default();
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let mut contact = Contact::new(begun);
        for ms in [0, 1000, 2000] {
            contact.answered(at(ms), &config);
        }
        assert!(!contact.answered(at(4001), &config));
        assert!(!contact.answered(at(6000), &config));
        assert!(contact.answered(at(6001), &config));
    }
}
