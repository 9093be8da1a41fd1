//! Shutting down within the time the operator grants: jobs that can finish do, the others are released, and every outcome is
//! written.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use crate::heartbeat::deregister;
use crate::workers::Workers;

/// How long jobs have to save and release themselves before they are aborted.
const RELEASING: Duration = Duration::from_secs(2);
/// What is reserved of the grace to write outcomes once every run has ended; a fourth when the grace is short.
const WRITING: Duration = Duration::from_secs(3);
/// The least time to write outcomes.
const LEAST_WRITING: Duration = Duration::from_secs(2);

/// How a shutdown went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Runs that had not ended in time and were asked to release their job, without spending an attempt.
    pub released: usize,
}

/// What happens when, from the beginning of a shutdown.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    release: Duration,
    abort: Duration,
    end: Duration,
}

impl Plan {
    fn within(grace: Duration) -> Self {
        let abort = grace.saturating_sub(WRITING.min(grace / 4));
        Self {
            release: abort.saturating_sub(RELEASING),
            abort,
            end: grace.max(abort + LEAST_WRITING),
        }
    }
}

impl Workers {
    /// Stops claiming, lets running jobs finish, asks those left to save and release themselves five seconds before `grace`
    /// is over, so that a peer goes on at once, aborts them three seconds before, writes all outcomes, and deregisters. The
    /// lease is renewed all the while.
    ///
    /// Takes no longer than `grace`, if that is 8 s or more. A shorter grace shortens the time for jobs; writing outcomes always has
    /// two seconds.
    pub async fn shutdown(self, grace: Duration) -> Drained {
        let begun = Instant::now();
        let plan = Plan::within(grace);
        let end = begun + plan.end;
        let instance = self.instance;
        instance.draining.cancel();
        instance.drain_runs();
        let mut idle = std::pin::pin!(async {
            // The producer ends by itself, so that a claim under way is completed.
            let _ = self.producer.await;
            instance.running.close();
            instance.running.wait().await;
        });
        let mut released = 0;
        if timeout_at(begun + plan.release, &mut idle).await.is_err() {
            released = instance.running.len();
            instance.release_runs();
            if timeout_at(begun + plan.abort, &mut idle).await.is_err() {
                instance.abort.cancel();
                if timeout_at(end, &mut idle).await.is_err() {
                    tracing::error!("some runs could not be stopped");
                }
            }
        }
        for context in &self.contexts {
            // Fails only when the worker has stopped already.
            let _ = context.stop();
        }
        let written = join_all(self.queues.iter().map(|queue| queue.slots.all_free()));
        if timeout_at(end, written).await.is_err() {
            tracing::error!("outcomes of jobs could not be written in time; peers will run these jobs again");
        }
        drop(self.completer);
        drop(self.loops);
        let deregistered = timeout_at(end, deregister(&instance)).await;
        if !matches!(deregistered, Ok(Ok(()))) {
            tracing::warn!(?deregistered, "deregistering failed; peers notice within seconds");
        }
        self.tracker.close();
        Drained { released }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shutdown_fits_its_grace() {
        let plan = |grace| {
            let plan = Plan::within(Duration::from_millis(grace));
            [plan.release, plan.abort, plan.end].map(|at| at.as_millis())
        };
        assert_eq!(plan(20_000), [15_000, 17_000, 20_000]);
        assert_eq!(plan(8000), [4000, 6000, 8000]);
        assert_eq!(plan(2000), [0, 1500, 3500], "outcomes have two seconds");
        assert_eq!(plan(0), [0, 0, 2000]);
    }
}
