//! A list of jobs: for each its queue, its handler and how many of it one process runs at a time.

use std::sync::Arc;
use std::time::Duration;

use cura_queue::{Job, JobError, Run, WorkersBuilder};

use crate::context::JobContext;

type Add = Box<dyn FnOnce(WorkersBuilder, &Arc<JobContext>) -> WorkersBuilder>;

/// Jobs in the order in which they were added.
#[derive(Default)]
pub(crate) struct Registry {
    jobs: Vec<(&'static str, Add)>,
    schedules: Vec<(&'static str, Add)>,
}

impl Registry {
    /// Adds a job, of which one process runs `concurrency` at a time.
    pub(crate) fn job<J, H, Fut>(mut self, concurrency: usize, handler: H) -> Self
    where
        J: Job,
        H: Fn(Arc<JobContext>, J, Run) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        let add = move |workers: WorkersBuilder, context: &Arc<JobContext>| {
            let context = Arc::clone(context);
            workers.queue(concurrency, move |job, run| handler(Arc::clone(&context), job, run))
        };
        self.jobs.push((J::QUEUE, Box::new(add)));
        self
    }

    /// Enqueues a job once every `period`, whichever process is first. `job` is given the number of the period.
    pub(crate) fn schedule<J: Job>(mut self, period: Duration, job: fn(i64) -> J) -> Self {
        let add = move |workers: WorkersBuilder, _: &Arc<JobContext>| workers.schedule(period, job);
        self.schedules.push((J::QUEUE, Box::new(add)));
        self
    }

    /// The queues of the jobs.
    pub(crate) fn queues(&self) -> Vec<&'static str> {
        self.jobs.iter().map(|(queue, _)| *queue).collect()
    }

    /// Adds the handlers and schedules of the `wanted` queues to `workers`.
    pub(crate) fn add_to(
        self,
        workers: WorkersBuilder,
        context: &Arc<JobContext>,
        wanted: impl Fn(&str) -> bool,
    ) -> WorkersBuilder {
        let all = self.jobs.into_iter().chain(self.schedules);
        all.filter(|(queue, _)| wanted(queue))
            .fold(workers, |workers, (_, add)| add(workers, context))
    }
}
