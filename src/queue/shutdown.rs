//! A clean way out, within the time the operator gives: what can finish finishes, the rest is given back, and every outcome
//! is written.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::{Workers, rescuer};

/// How long before they are cut jobs are told to save and give back.
const HANDOVER: Duration = Duration::from_secs(2);
/// What is kept of the time to write outcomes once everything has stopped; a fourth when there is little.
const WRITING: Duration = Duration::from_secs(3);
/// What outcomes are given in any case.
const LEAST_WRITING: Duration = Duration::from_secs(2);

/// How a shutdown went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Runs that had not ended in time and were told to give their job back, without spending an attempt.
    pub released: usize,
}

/// What happens when, from the beginning of a shutdown.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    hand_over: Duration,
    cut: Duration,
    end: Duration,
}

impl Plan {
    fn within(grace: Duration) -> Self {
        let cut = grace.saturating_sub(WRITING.min(grace / 4));
        Self {
            hand_over: cut.saturating_sub(HANDOVER),
            cut,
            end: grace.max(cut + LEAST_WRITING),
        }
    }
}

impl Workers {
    /// Stops claiming, lets running jobs finish, has them save and give back what is left five seconds before `grace` is
    /// over, so that a peer goes on at once, cuts them three seconds before, writes all outcomes, and leaves. The lease is
    /// renewed all the while.
    ///
    /// Takes no longer than `grace`, if that is 8 s or more. A shorter one leaves jobs less; outcomes are given two seconds
    /// even after none.
    pub async fn shutdown(self, grace: Duration) -> Drained {
        let begun = Instant::now();
        let plan = Plan::within(grace);
        let end = begun + plan.end;
        let Self {
            shared,
            queues,
            claimer,
            ..
        } = self;
        let running = || queues.iter().map(|lane| lane.running.load(Ordering::Acquire)).sum();
        shared.draining.cancel();
        shared.drain_runs();
        let mut idle = std::pin::pin!(async {
            // The claimer ends by itself, so that a claim under way is not cut in the middle.
            let _ = claimer.await;
            while running() > 0_usize {
                tokio::select! {
                    () = shared.wake.notified() => {}
                    // The listener takes wake-ups of its own; the count is looked at anyway.
                    () = tokio::time::sleep(Duration::from_millis(20)) => {}
                }
            }
        });
        let mut released = 0;
        if timeout_at(begun + plan.hand_over, &mut idle).await.is_err() {
            released = running();
            shared.hand_runs_over();
            if timeout_at(begun + plan.cut, &mut idle).await.is_err() {
                shared.cut.cancel();
                if timeout_at(end, &mut idle).await.is_err() {
                    tracing::error!("some jobs did not let themselves be given back");
                }
            }
        }
        for context in &self.contexts {
            // Fails only when the worker has stopped already.
            let _ = context.stop();
        }
        let flushed = async {
            while shared.unwritten.load(Ordering::Acquire) > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if timeout_at(end, flushed).await.is_err() {
            tracing::error!("outcomes of jobs could not be written before the end; others will run them again");
        }
        drop(self.acks);
        drop(self.supervisors);
        let left = timeout_at(end, rescuer::leave(&shared)).await;
        if !matches!(left, Ok(Ok(()))) {
            tracing::warn!(?left, "leaving failed; others notice within seconds");
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
            [plan.hand_over, plan.cut, plan.end].map(|at| at.as_millis())
        };
        assert_eq!(plan(20_000), [15_000, 17_000, 20_000]);
        assert_eq!(plan(8000), [4000, 6000, 8000]);
        assert_eq!(plan(2000), [0, 1500, 3500], "outcomes are given two seconds");
        assert_eq!(plan(0), [0, 0, 2000]);
    }
}
