//! Deleting jobs that are over before their time. A dead job that is deleted cannot be retried.

use chrono::{DateTime, TimeDelta, Utc};
use cura_queue::{JobState, OverJobs};
use cura_store::StoreError;
use serde::Serialize;

use super::{Jobs, OperateJobsError};
use crate::operate::Act;

/// How many jobs are deleted in one transaction.
const BATCH: i64 = 1000;
/// For how long jobs that are over are kept, whatever an operator wants: their keys keep what is enqueued once in a period, or once for
/// each request, from being enqueued twice.
const LEAST_AGE: TimeDelta = TimeDelta::hours(1);

/// Which jobs are deleted.
#[derive(Debug, Clone)]
pub struct WhichOver {
    /// Those that are done, dead or cancelled.
    pub state: JobState,
    /// Those of this queue.
    pub queue: Option<String>,
    /// Those that were over at this moment.
    pub before: DateTime<Utc>,
}

/// How many jobs were deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Pruned {
    /// They are gone.
    pub pruned: u64,
}

impl Jobs {
    /// Deletes jobs that are over, in batches: each is either deleted or untouched, whenever this ends. `progress` is told how many are
    /// deleted.
    ///
    /// # Errors
    /// [`OperateJobsError::TooYoung`], or what kept it from deleting all.
    pub async fn prune(&self, which: &WhichOver, progress: impl Fn(u64)) -> Result<Pruned, OperateJobsError> {
        if which.before > self.acts.now() - LEAST_AGE {
            return Err(self.refuse("jobs.prune", "", OperateJobsError::TooYoung).await);
        }
        let over = OverJobs {
            queue: which.queue.as_deref(),
            state: which.state,
            before: which.before,
        };
        let mut pruned = Pruned::default();
        loop {
            let mut act = Act::new("jobs.prune")
                .with("state", which.state)
                .with("before", which.before);
            if let Some(queue) = &which.queue {
                act.set_target(queue);
            }
            let batch = self.acts.transaction(act, async |connection, act| {
                let deleted = cura_queue::prune(connection, &over, BATCH).await?;
                act.note("pruned", deleted);
                Ok::<_, StoreError>(deleted)
            });
            let deleted = batch.await?;
            pruned.pruned += deleted;
            progress(pruned.pruned);
            if deleted < BATCH.unsigned_abs() {
                return Ok(pruned);
            }
        }
    }
}
