//! One warning when a work that is repeated begins to fail, and one line when it succeeds again, however often it fails meanwhile.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::QueueError;

/// An outage is over when nothing has failed for so long: some statements may succeed while others fail.
const SETTLED: Duration = Duration::from_secs(3);

/// Whether a work fails.
pub(crate) struct Outage {
    work: &'static str,
    last_failure: Option<Instant>,
}

impl Outage {
    /// Of this work, in words that "failed" may follow.
    pub(crate) fn of(work: &'static str) -> Self {
        Self {
            work,
            last_failure: None,
        }
    }

    /// Notes a failure; the work is tried again.
    pub(crate) fn failed(&mut self, error: &QueueError) {
        let work = self.work;
        if self.last_failure.replace(Instant::now()).is_none() {
            tracing::warn!(%error, "{work} failed; it is tried until it succeeds");
        } else {
            tracing::debug!(%error, "{work} failed again");
        }
    }

    /// Notes a success.
    pub(crate) fn worked(&mut self) {
        if self.last_failure.is_some_and(|at| at.elapsed() >= SETTLED) {
            self.last_failure = None;
            tracing::info!("{} succeeds again", self.work);
        }
    }
}
