//! A clean way out: what can finish finishes, the rest is given back, and every outcome is written.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::{Workers, lease};

/// How long before the deadline of a shutdown jobs are told to save and give back.
const HANDOVER: Duration = Duration::from_secs(2);
/// How long outcomes may take to be written once everything has stopped.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// How a shutdown went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Runs that did not end in time and were given back, without spending an attempt.
    pub given_back: usize,
}

impl Workers {
    /// Stops claiming, lets running jobs finish until `deadline` from now, has them save and give back what is left a
    /// moment earlier so that a peer goes on at once, and leaves. The lease is renewed all the while.
    pub async fn shutdown(self, deadline: Duration) -> Drained {
        let deadline = Instant::now() + deadline;
        self.shared.draining.cancel();
        self.shared.drain_runs();
        // The claimer ends by itself, so that a claim under way is not cut in the middle.
        let _ = self.claimer.await;
        self.shared.drain_runs();
        let idle = || async {
            while self.lanes.iter().any(|lane| lane.running.load(Ordering::Acquire) > 0) {
                tokio::select! {
                    () = self.shared.wake.notified() => {}
                    // The listener takes wake-ups of its own; the count is looked at anyway.
                    () = tokio::time::sleep(Duration::from_millis(20)) => {}
                }
            }
        };
        let mut given_back = 0;
        if tokio::time::timeout_at(deadline.checked_sub(HANDOVER).unwrap_or(deadline), idle())
            .await
            .is_err()
        {
            given_back = self.lanes.iter().map(|lane| lane.running.load(Ordering::Acquire)).sum();
            self.shared.hand_runs_over();
        }
        if tokio::time::timeout_at(deadline, idle()).await.is_err() {
            self.shared.cut.cancel();
            if tokio::time::timeout(FLUSH_TIMEOUT, idle()).await.is_err() {
                tracing::error!("some jobs did not let themselves be given back");
            }
        }
        for context in &self.contexts {
            // Fails only when the worker has stopped already.
            let _ = context.stop();
        }
        let flushed = async {
            while self.shared.unwritten.load(Ordering::Acquire) > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(FLUSH_TIMEOUT, flushed).await.is_err() {
            tracing::error!("outcomes of jobs could not be written before the end; others will run them again");
        }
        drop(self.acks);
        drop(self.supervisors);
        if let Err(error) = lease::leave(&self.shared).await {
            tracing::warn!(%error, "leaving failed; others notice within seconds");
        }
        self.tracker.close();
        Drained { given_back }
    }
}
