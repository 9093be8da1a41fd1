//! What workers do: one file a job. A job says why it may run twice.

mod bury_answer;
mod generate_answer;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use cura_domain::Clock;
use cura_live::Live;
use cura_providers::ai::Ai;
use cura_queue::{BuryAnswer, GenerateAnswer, Job, JobError, WorkersBuilder};
use cura_store::{PgPool, StoreError};

/// Everything a job needs. Cheap to clone.
#[derive(Clone)]
pub struct Jobs(Arc<Parts>);

struct Parts {
    pool: PgPool,
    live: Live,
    ai: Ai,
    clock: Clock,
}

/// How many jobs of each queue one process runs at a time.
#[derive(Debug, Clone, Copy)]
pub struct Concurrency {
    /// Answers: they mostly wait for the provider.
    pub generate_answer: usize,
}

/// Every queue there is, by name.
pub const QUEUES: [&str; 2] = [GenerateAnswer::QUEUE, BuryAnswer::QUEUE];

impl Jobs {
    /// Puts the parts together.
    pub fn new(pool: PgPool, live: Live, ai: Ai, clock: Clock) -> Self {
        Self(Arc::new(Parts { pool, live, ai, clock }))
    }

    /// Adds the handlers of the wanted queues.
    pub fn register(
        &self,
        mut workers: WorkersBuilder,
        wanted: impl Fn(&str) -> bool,
        concurrency: Concurrency,
    ) -> WorkersBuilder {
        if wanted(GenerateAnswer::QUEUE) {
            let jobs = self.clone();
            workers = workers.queue(concurrency.generate_answer, move |job: GenerateAnswer, run| {
                let jobs = jobs.clone();
                async move { generate_answer::run(&jobs.0, job, run).await }
            });
        }
        if wanted(BuryAnswer::QUEUE) {
            let jobs = self.clone();
            workers = workers.queue(1, move |job: BuryAnswer, _run| {
                let jobs = jobs.clone();
                async move { bury_answer::run(&jobs.0, job).await }
            });
        }
        workers
    }
}

/// How long a job that found no database waits to be tried again.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);

/// A job that could not even begin: when the database is away, that is no attempt.
fn not_begun(error: StoreError) -> JobError {
    match error {
        StoreError::Unavailable(_) => JobError::Postpone {
            after: DATABASE_PAUSE,
            reason: error.to_string(),
        },
        StoreError::Query(_) | StoreError::UnknownWord(_) => store_error(error),
    }
}

/// A failed query: later, if the database is only away.
fn store_error(error: StoreError) -> JobError {
    let reason = error.to_string();
    match error {
        StoreError::Unavailable(_) => JobError::Retry { after: None, reason },
        StoreError::Query(_) | StoreError::UnknownWord(_) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a job's query failed");
            JobError::Retry { after: None, reason }
        }
    }
}
