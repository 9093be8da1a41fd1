//! Steps of Postgres' clock: when it is set back, jobs that were ready a moment ago lie in the future, and would wait for as
//! long as the step. They are moved with the clock.
//!
//! A step forward needs nothing: jobs that wait run early, and find out for themselves that they have to wait on.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::QueueError;
use crate::instance::Instance;
use crate::statement_timeout::with_timeout;

/// The most jobs that a process moves for one step; those that were to run first.
const MAX_MOVED: i64 = 10_000;

/// What Postgres' clock said last, and by how much jobs are still to be moved.
#[derive(Debug, Default)]
pub(crate) struct ClockSteps {
    /// When it was read, by our own clock, and what it said: seconds since the epoch.
    last: Option<(Instant, f64)>,
    /// How far the clock was set back since jobs were last moved.
    set_back: Duration,
}

impl ClockSteps {
    /// Records that Postgres' clock says `says`, in seconds since the epoch, at `now`.
    pub(crate) fn read(&mut self, says: f64, now: Instant) {
        if let Some((at, said)) = self.last.replace((now, says))
            && says < said
        {
            let expected = said + now.duration_since(at).as_secs_f64();
            self.set_back += Duration::try_from_secs_f64(expected - says).unwrap_or_default();
        }
    }

    /// Moves waiting jobs by what the clock was set back, if it was. Several processes may do so at once: a job that is ready
    /// stays where it is, and one that waits on may be moved too far, and looked at early.
    pub(crate) async fn move_jobs(&mut self, instance: &Instance) -> Result<(), QueueError> {
        if self.set_back.is_zero() {
            return Ok(());
        }
        let moved = sqlx::query(
            "UPDATE apalis.jobs SET run_at = run_at - make_interval(secs => $1)
             WHERE id = ANY(ARRAY(SELECT id FROM apalis.jobs WHERE status = 'Pending' AND run_at > now()
                                  ORDER BY run_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
        )
        .bind(self.set_back.as_secs_f64())
        .bind(MAX_MOVED)
        .execute(&instance.pool);
        let jobs = with_timeout(async { Ok(moved.await?.rows_affected()) }).await?;
        tracing::warn!(step = ?self.set_back, jobs, "Postgres' clock was set back; jobs that were ready are ready again");
        self.set_back = Duration::ZERO;
        instance.wake.notify_one();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_that_goes_back_was_set_back() {
        let begun = Instant::now();
        let mut steps = ClockSteps::default();
        for (ms, says) in [(0, 100.0), (500, 100.5), (1000, 106.0), (1500, 106.4)] {
            steps.read(says, begun + Duration::from_millis(ms));
            assert_eq!(steps.set_back, Duration::ZERO, "{says}");
        }
        steps.read(101.9, begun + Duration::from_millis(2000));
        assert_eq!(steps.set_back.as_millis(), 5000, "106.9 was expected");
        steps.read(102.4, begun + Duration::from_millis(2500));
        assert_eq!(steps.set_back.as_millis(), 5000, "it goes on from there");
    }
}
