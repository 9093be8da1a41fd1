//! Runs claimed jobs: each in a task of its own, within its time limit, until it ends or must be released; then decides
//! what becomes of it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::Instrument;

use crate::claimed_job::ClaimedJob;
use crate::completer::Completion;
use crate::disposition::Disposition;
use crate::instance::Instance;
use crate::job::JobError;
use crate::run::Run;

/// Runs a job; `None` when its payload cannot be decoded.
pub(crate) type Handler = Arc<dyn Fn(Vec<u8>, Run) -> Option<BoxFuture<'static, Result<(), JobError>>> + Send + Sync>;

/// Runs the jobs of one queue.
pub(crate) struct Executor {
    pub(crate) instance: Arc<Instance>,
    pub(crate) tracker: TaskTracker,
    pub(crate) completions: mpsc::Sender<Completion>,
    pub(crate) queue: &'static str,
    pub(crate) timeout: Duration,
    pub(crate) handler: Handler,
}

/// How a run ended.
enum Outcome {
    /// What the handler returned, or what stands for it if the run was stopped.
    Returned(Result<(), JobError>),
    /// The handler was not called.
    Undecodable,
}

impl Executor {
    /// Runs a job and passes its outcome to the completer, unless a statement of the handler has completed the job.
    pub(crate) async fn execute(self: Arc<Self>, job: ClaimedJob) {
        let ClaimedJob {
            claim,
            payload,
            running,
        } = job;
        let outcome = self.run(payload, claim.run.clone()).await;
        if claim.run.is_completed() && matches!(outcome, Outcome::Returned(Ok(()))) {
            // The claim first, so that who waits for the last run finds its slot free.
            drop(claim);
            drop(running);
            return;
        }
        let disposition = self.decide(outcome, &claim.run);
        let completion = Completion { claim, disposition };
        // Refused only when the completer is gone, which outlives every executor.
        let _ = self.completions.send(completion).await;
        drop(running);
    }

    /// Runs the handler in a task of its own, so that neither a panic nor a long poll touches other jobs.
    async fn run(&self, payload: Vec<u8>, run: Run) -> Outcome {
        let span = tracing::info_span!("job", queue = self.queue, job_id = run.job_id, attempt = run.attempt);
        let (instance, handler, timeout) = (Arc::clone(&self.instance), Arc::clone(&self.handler), self.timeout);
        let work = async move {
            let handled = async {
                match handler(payload, run) {
                    Some(work) => Outcome::Returned(work.await),
                    None => Outcome::Undecodable,
                }
            };
            let retry = |reason| Outcome::Returned(Err(JobError::Retry { after: None, reason }));
            tokio::select! {
                handled = tokio::time::timeout(timeout, AssertUnwindSafe(handled).catch_unwind()) => match handled {
                    Ok(Ok(outcome)) => outcome,
                    Ok(Err(_)) => retry("the run panicked".to_owned()),
                    Err(_) => retry(format!("the run took more than {timeout:?}")),
                },
                () = instance.abort.cancelled() => Outcome::Returned(Err(JobError::Release)),
            }
        };
        // Aborted with the caller: when apalis drops a run, nothing of it goes on.
        let task = AbortOnDropHandle::new(self.tracker.spawn(work.instrument(span)));
        task.await.unwrap_or(Outcome::Returned(Err(JobError::Release)))
    }

    /// What becomes of the job, and a log line for the operator unless it is complete.
    fn decide(&self, outcome: Outcome, run: &Run) -> Disposition {
        let (queue, job_id, attempt) = (self.queue, &run.job_id, run.attempt);
        let decide = |result| Disposition::of(result, attempt, run.max_attempts, &self.instance.config);
        let (by_handler, disposition) = match outcome {
            Outcome::Returned(result) => (matches!(result, Err(JobError::Discard { .. })), decide(result)),
            Outcome::Undecodable => {
                let reason = "the payload cannot be decoded".to_owned();
                (false, Disposition::Discard { reason })
            }
        };
        match &disposition {
            Disposition::Complete => {}
            Disposition::Retry { reason, .. } => {
                tracing::warn!(queue, job_id, attempt, reason, "a run failed; the job will be retried");
            }
            // The handler decided so, and logs an error itself if an operator must act.
            Disposition::Discard { reason } if by_handler => {
                tracing::warn!(queue, job_id, reason, "a job was discarded by its handler");
            }
            Disposition::Discard { reason } => {
                tracing::error!(queue, job_id, reason, "a job was discarded");
            }
            Disposition::Snooze { after, reason } => {
                tracing::info!(queue, job_id, ?after, reason, "a job was snoozed");
            }
            Disposition::Release => tracing::info!(queue, job_id, "a job was released for another worker"),
        }
        disposition
    }
}
