//! A claimed job, and what this process holds for it until its outcome is written.

use std::sync::Arc;

use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::instance::Instance;
use crate::job::JobId;
use crate::run::Run;
use crate::slots::Slot;

/// The claim on a job: its open run and its slot. Dropping it closes the run and gives the slot back, wherever that
/// happens. If no outcome was written by then, the job is released as an orphaned claim.
pub(crate) struct Claim {
    instance: Arc<Instance>,
    /// Knows the identity under which the job was claimed; the process may have lost that lease since.
    pub(crate) run: Run,
    keep_open: bool,
    _slot: Slot,
}

impl Claim {
    /// Leaves the run open when the claim is dropped: the job stays claimed until this process has left.
    pub(crate) fn keep_run_open(&mut self) {
        self.keep_open = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.keep_open {
            self.instance.close_run(&self.run);
        }
    }
}

/// A job that this instance runs.
pub(crate) struct ClaimedJob {
    pub(crate) claim: Claim,
    pub(crate) payload: Vec<u8>,
    /// A shutdown waits until the token of every run is dropped.
    pub(crate) running: TaskTrackerToken,
}

impl ClaimedJob {
    /// Opens the run of a job that was claimed under `instance_id`.
    pub(crate) fn open(instance: &Arc<Instance>, instance_id: &Arc<str>, row: ClaimedRow, slot: Slot) -> Self {
        Self {
            claim: Claim {
                instance: Arc::clone(instance),
                run: instance.open_run(instance_id, row.job_id, row.attempt, row.max_attempts),
                keep_open: false,
                _slot: slot,
            },
            payload: row.payload,
            running: instance.running.token(),
        }
    }
}

/// What a claim returns of a job.
pub(crate) struct ClaimedRow {
    pub(crate) job_id: JobId,
    pub(crate) payload: Vec<u8>,
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
}
