//! When jobs that wait become ready. Nobody says so: they are looked for once in a poll interval, ahead of their time, or a job that
//! waits for two seconds would begin after three.

use std::collections::VecDeque;
use std::time::Duration;

use sqlx::Row;
use tokio::time::Instant;

use crate::error::QueueError;
use crate::instance::Instance;
use crate::statement_timeout::with_timeout;

/// The most moments that one look finds; the next look begins behind the last of them.
const MAX_TIMES: i64 = 100;
/// Jobs that become ready within this time of each other are claimed together.
const TOGETHER: Duration = Duration::from_millis(20);

/// The moments at which jobs of this process become ready, until the next look.
pub(crate) struct DueTimes {
    times: VecDeque<Instant>,
    look_at: Instant,
}

impl DueTimes {
    /// Nothing is known yet.
    pub(crate) fn new() -> Self {
        Self {
            times: VecDeque::new(),
            look_at: Instant::now(),
        }
    }

    /// Until when there is nothing to claim, as far as is known: at most a poll interval from now.
    ///
    /// # Errors
    /// When Postgres was asked and did not answer.
    pub(crate) async fn next(&mut self, instance: &Instance, queues: &[&str]) -> Result<Instant, QueueError> {
        let now = Instant::now();
        let poll_interval = instance.config.poll_interval;
        if now >= self.look_at {
            self.look_at = now + poll_interval;
            self.look(instance, queues).await?;
        }
        while self.times.front().is_some_and(|due| *due <= now) {
            self.times.pop_front();
        }
        let poll = now + poll_interval;
        Ok(self.times.front().map_or(poll, |due| poll.min(*due)).min(self.look_at))
    }

    async fn look(&mut self, instance: &Instance, queues: &[&str]) -> Result<(), QueueError> {
        let waiting = sqlx::query(
            "SELECT extract(epoch FROM run_at - now())::float8 FROM apalis.jobs
             WHERE status = 'Pending' AND job_type = ANY($1) AND run_at > now() AND run_at <= now() + make_interval(secs => $2)
             ORDER BY run_at LIMIT $3",
        )
        .bind(queues)
        .bind(instance.config.poll_interval.as_secs_f64())
        .bind(MAX_TIMES)
        .fetch_all(&instance.pool);
        let rows = with_timeout(async { Ok(waiting.await?) }).await?;
        // Not earlier than Postgres reckoned: a claim that comes a moment too soon finds nothing.
        let now = Instant::now();
        let is_full = i64::try_from(rows.len()).is_ok_and(|rows| rows >= MAX_TIMES);
        self.times.clear();
        for row in rows {
            let seconds: f64 = row.try_get(0)?;
            let due = now + Duration::try_from_secs_f64(seconds).unwrap_or_default();
            match self.times.back_mut() {
                // The later of the two: at its time both are ready.
                Some(last) if due.saturating_duration_since(*last) < TOGETHER => *last = due,
                _ => self.times.push_back(due),
            }
        }
        if let Some(last) = self.times.back().filter(|_| is_full) {
            self.look_at = *last;
        }
        Ok(())
    }
}
