//! The bridge to apalis: a [`Backend`] that hands the claimed jobs of one queue to apalis' `Worker`.

use std::convert::Infallible;
use std::task::{Context, Poll};

use apalis::prelude::{Backend, RandomId, Task, WorkerContext};
use apalis_core::backend::BackendConfig;
use apalis_core::backend::finalize::Ephemeral;
use tokio::sync::mpsc;
use tower::layer::util::Identity;

use crate::claimed_job::ClaimedJob;

/// The claimed jobs of one queue. To apalis every run is a success: retries are ours.
pub(crate) struct ClaimedJobs {
    pub(crate) jobs: mpsc::Receiver<ClaimedJob>,
}

impl Backend for ClaimedJobs {
    type Task = Task<ClaimedJob>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Option<Result<Self::Task, Infallible>>> {
        self.jobs.poll_recv(cx).map(|job| {
            job.map(|job| {
                let attempt = usize::try_from(job.claim.run.attempt).unwrap_or(usize::MAX);
                Ok(Task::new(job).into_builder().attempt(attempt).build())
            })
        })
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        // The completer writes outcomes, and outlives every apalis worker.
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for ClaimedJobs {
    type Args = ClaimedJob;
    type Id = RandomId;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}
