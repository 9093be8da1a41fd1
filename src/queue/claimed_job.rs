//! A job from its claim to the end of its run.

use std::sync::Arc;

use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::run::Run;
use crate::slots::Slot;

/// A job that this instance has claimed and runs.
#[derive(Debug)]
pub(crate) struct ClaimedJob {
    /// The instance under which it was claimed, which may have lost its lease since.
    pub(crate) instance_id: Arc<str>,
    pub(crate) payload: Vec<u8>,
    pub(crate) run: Run,
    /// Goes on to the outcome, and is given back when that is written.
    pub(crate) slot: Slot,
    /// A shutdown waits until every run has dropped its own.
    pub(crate) running: TaskTrackerToken,
}
