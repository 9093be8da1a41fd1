//! The bridge to apalis: a [`Backend`] that hands claimed jobs to apalis' `Worker`, and the layer that reports outcomes.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use apalis::prelude::{Backend, IntoResponse, RandomId, Task, WorkerContext};
use apalis_core::backend::BackendConfig;
use apalis_core::backend::finalize::Ephemeral;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tower::{Layer, Service};

use crate::completer::Ack;
use crate::disposition::Disposition;
use crate::instance::Shared;
use crate::{JobError, Run};

/// A job that is ours to run.
#[derive(Debug, Clone)]
pub(crate) struct Claimed {
    pub(crate) instance: Arc<str>,
    pub(crate) payload: Vec<u8>,
    pub(crate) run: Run,
}

/// One queue of this process: its name, and how many of its jobs run at once.
pub(crate) struct QueueSlots {
    pub(crate) queue: &'static str,
    pub(crate) concurrency: usize,
    pub(crate) running: AtomicUsize,
    pub(crate) claimed: mpsc::Sender<Claimed>,
}

impl QueueSlots {
    pub(crate) fn free(&self) -> usize {
        self.concurrency.saturating_sub(self.running.load(Ordering::Acquire))
    }
}

/// Hands the jobs claimed for one lane to apalis' worker.
pub(crate) struct ClaimedJobs {
    pub(crate) shared: Arc<Shared>,
    pub(crate) lane: Arc<QueueSlots>,
    pub(crate) jobs: mpsc::Receiver<Claimed>,
}

impl Backend for ClaimedJobs {
    type Task = Task<Claimed>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Option<Result<Self::Task, Infallible>>> {
        self.jobs.poll_recv(cx).map(|claimed| {
            claimed.map(|claimed| {
                let attempt = usize::try_from(claimed.run.attempt).unwrap_or(usize::MAX);
                Ok(Task::new(claimed).into_builder().attempt(attempt).build())
            })
        })
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        // Outcomes are flushed by `acks`, which outlives every worker.
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for ClaimedJobs {
    type Args = Claimed;
    type Id = RandomId;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = ReportLayer;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> ReportLayer {
        ReportLayer {
            shared: Arc::clone(&self.shared),
            lane: Arc::clone(&self.lane),
        }
    }
}

/// Reports the outcome of every run and frees its slot. To apalis every run is a success: retries are ours.
#[derive(Clone)]
pub(crate) struct ReportLayer {
    shared: Arc<Shared>,
    lane: Arc<QueueSlots>,
}

impl<S> Layer<S> for ReportLayer {
    type Service = Report<S>;

    fn layer(&self, inner: S) -> Report<S> {
        Report {
            layer: self.clone(),
            inner,
        }
    }
}

/// See [`ReportLayer`].
#[derive(Clone)]
pub(crate) struct Report<S> {
    layer: ReportLayer,
    inner: S,
}

impl<S> Service<Task<Claimed>> for Report<S>
where
    S: Service<Task<Claimed>, Response = Outcome> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: std::fmt::Display,
{
    type Response = ();
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<(), Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // An error of a service that is not ready shows in the call that follows.
        self.inner.poll_ready(cx).map(|_| Ok(()))
    }

    fn call(&mut self, task: Task<Claimed>) -> Self::Future {
        let ReportLayer { shared, lane } = self.layer.clone();
        let (run, instance) = (task.args.run.clone(), Arc::clone(&task.args.instance));
        let handled = self.inner.call(task);
        Box::pin(async move {
            let decide = |outcome| Disposition::of(outcome, run.attempt, run.max_attempts, &shared.config);
            let (given_up, disposition) = match handled.await {
                Ok(Outcome::Ended(outcome)) => (matches!(outcome, Err(JobError::Discard { .. })), decide(outcome)),
                Ok(Outcome::Undecodable) => {
                    let reason = "the payload cannot be decoded".to_owned();
                    (false, Disposition::Discard { reason })
                }
                Err(error) => {
                    let reason = error.to_string();
                    (false, decide(Err(JobError::Retry { after: None, reason })))
                }
            };
            match &disposition {
                // Its handler decided so, and has told whoever has to act.
                Disposition::Discard { reason } if given_up => {
                    tracing::warn!(queue = lane.queue, job_id = run.job_id, reason, "a job has given up");
                }
                Disposition::Discard { reason } => {
                    tracing::error!(queue = lane.queue, job_id = run.job_id, reason, "a job is dead");
                }
                Disposition::Retry { reason, .. } => {
                    tracing::warn!(
                        queue = lane.queue,
                        job_id = run.job_id,
                        attempt = run.attempt,
                        reason,
                        "a run failed"
                    );
                }
                Disposition::Release { reason, .. } => {
                    tracing::info!(queue = lane.queue, job_id = run.job_id, reason, "a job was given back");
                }
                Disposition::Complete => {}
            }
            let ack = Ack {
                job_id: run.job_id,
                instance,
                attempt: run.attempt,
                disposition,
            };
            shared.unwritten.fetch_add(1, Ordering::AcqRel);
            // Refused only when the writer is gone, which outlives us.
            let _ = shared.acks.send(ack).await;
            lane.running.fetch_sub(1, Ordering::AcqRel);
            shared.wake.notify_one();
            Ok(())
        })
    }
}

/// How a run ended, in a type that apalis takes for an answer and not for an error of its own.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// What the handler said, or would have if it had been let.
    Ended(Result<(), JobError>),
    /// No handler was asked: nobody understands the payload, and nobody was told.
    Undecodable,
}

impl IntoResponse for Outcome {
    type Output = Self;

    fn into_response(self) -> Result<Self, apalis_core::error::BoxDynError> {
        Ok(self)
    }
}
