//! One run of a job, as its handler sees it.

use tokio::sync::watch;

use crate::job::JobId;

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
    pub(crate) stop: watch::Receiver<Option<StopReason>>,
}

impl Run {
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
