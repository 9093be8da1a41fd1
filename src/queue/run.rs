//! One run of a job, as its handler sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use crate::job::JobId;
use crate::known_jobs::made_at;

/// Why a run should stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The job was cancelled.
    Cancelled,
    /// The process is shutting down: there is still time to finish.
    Draining,
    /// The process ends in a moment: save the progress and release the job ([`JobError::Release`](crate::JobError)).
    Release,
    /// This instance lost its lease: another one may run the job already, and the outcome of this run is void.
    Lost,
}

/// A run: which job, which attempt, and whether it should stop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Run {
    /// The job.
    pub job_id: JobId,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How many attempts there are.
    pub max_attempts: u32,
    /// The identity under which the job was claimed.
    pub(crate) instance_id: Arc<str>,
    /// Whether a statement of the handler has completed the job.
    pub(crate) completed: Arc<AtomicBool>,
    pub(crate) stop: watch::Receiver<Option<StopReason>>,
}

/// What shows that a run still has its job: the row of the job that is `Running` with these three. Whoever completes the job
/// checks all of them, so that a run that lost its lease changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The job.
    pub job_id: JobId,
    /// Who claimed it.
    pub instance_id: Arc<str>,
    /// The attempt that it was claimed for.
    pub attempt: u32,
}

impl Run {
    /// By what a statement of the handler recognises the claim of this run, to complete the job in the transaction that does the
    /// job's work. Once that has committed, [`Self::completed_by_handler`] is to be called.
    pub fn claimed(&self) -> Claimed {
        Claimed {
            job_id: self.job_id.clone(),
            instance_id: Arc::clone(&self.instance_id),
            attempt: self.attempt,
        }
    }

    /// When the job was made, by the clock of whoever did; its id says so.
    pub fn made_at(&self) -> Option<DateTime<Utc>> {
        made_at(&self.job_id)
    }

    /// The job is `Done`, by a transaction of the handler that has committed: the queue has no outcome to write.
    pub fn completed_by_handler(&self) {
        self.completed.store(true, Ordering::Release);
    }

    pub(crate) fn is_completed(&self) -> bool {
        self.completed.load(Ordering::Acquire)
    }

    /// Waits until the run must stop, for any reason but [`StopReason::Draining`].
    pub async fn cancelled(&self) -> StopReason {
        let mut stop = self.stop.clone();
        match stop
            .wait_for(|reason| reason.is_some_and(|reason| reason != StopReason::Draining))
            .await
        {
            Ok(reason) => reason.unwrap_or(StopReason::Lost),
            Err(_) => StopReason::Lost,
        }
    }

    /// Why the run should stop, if it should.
    pub fn stop_reason(&self) -> Option<StopReason> {
        *self.stop.borrow()
    }
}
