//! What workers do: one file a job. A job says why it may run twice.

mod bury_answer;
mod ending;
mod generate_answer;
mod stop_answers;
mod taking;
mod writer;

mod accounts {
    pub(crate) mod archive;
    pub(crate) mod erase_user;
    pub(crate) mod export_account;
}
mod conversations {
    pub(crate) mod ask_model;
    pub(crate) mod purge_conversation;
    pub(crate) mod summarize_conversation;
    pub(crate) mod title_conversation;
}
mod maintenance {
    pub(crate) mod prune_expired;
}

use std::sync::Arc;
use std::time::Duration;

use cura_domain::Clock;
use cura_live::Live;
use cura_providers::ai::Ai;
use cura_queue::{
    EraseUser, ExportAccount, FailAbandonedAnswer, GenerateAnswer, Job, JobError, PruneExpired, PurgeConversation, Run,
    SummarizeConversation, TitleConversation, WorkersBuilder,
};
use cura_store::{Database, StoreError};

/// Everything a job needs. Cheap to clone.
#[derive(Clone)]
pub struct Jobs(Arc<Parts>);

struct Parts {
    database: Database,
    live: Live,
    ai: Ai,
    clock: Clock,
    manner: Manner,
}

/// How Cura speaks.
#[derive(Debug, Clone)]
pub struct Manner {
    /// Who it is: what the model is told first.
    pub persona: Arc<str>,
    /// Tokens a prompt may have.
    pub context_tokens: usize,
    /// Whether the model is asked for titles.
    pub titles: bool,
    /// Answers of a user that may be written at a time; 0 is no limit.
    pub running_answers: u32,
}

/// How many jobs of each queue one process runs at a time.
#[derive(Debug, Clone, Copy)]
pub struct Concurrency {
    /// Answers: they mostly wait for the provider.
    pub generate_answer: usize,
}

/// Every queue there is, by name.
pub const QUEUES: [&str; 8] = [
    GenerateAnswer::QUEUE,
    FailAbandonedAnswer::QUEUE,
    TitleConversation::QUEUE,
    SummarizeConversation::QUEUE,
    PurgeConversation::QUEUE,
    EraseUser::QUEUE,
    ExportAccount::QUEUE,
    PruneExpired::QUEUE,
];

/// How often what has had its time is forgotten.
const PRUNE_EVERY: Duration = Duration::from_secs(10 * 60);

impl Jobs {
    /// Puts the parts together.
    pub fn new(database: Database, live: Live, ai: Ai, clock: Clock, manner: Manner) -> Self {
        Self(Arc::new(Parts {
            database,
            live,
            ai,
            clock,
            manner,
        }))
    }

    /// Adds the handlers of the wanted queues.
    pub fn register(
        &self,
        workers: WorkersBuilder,
        wanted: impl Fn(&str) -> bool,
        concurrency: Concurrency,
    ) -> WorkersBuilder {
        Adding {
            jobs: self,
            workers,
            wanted,
        }
        .queue(
            concurrency.generate_answer,
            |parts, job: GenerateAnswer, run| async move { generate_answer::run(&parts, job, run).await },
        )
        .queue(1, |parts, job: FailAbandonedAnswer, _| async move {
            bury_answer::run(&parts, job).await
        })
        .queue(4, |parts, job: TitleConversation, _| async move {
            conversations::title_conversation::run(&parts, job).await
        })
        .queue(4, |parts, job: SummarizeConversation, _| async move {
            conversations::summarize_conversation::run(&parts, job).await
        })
        .queue(2, |parts, job: PurgeConversation, _| async move {
            conversations::purge_conversation::run(&parts, job).await
        })
        .queue(1, |parts, job: EraseUser, _| async move {
            accounts::erase_user::run(&parts, job).await
        })
        .queue(1, |parts, job: ExportAccount, _| async move {
            accounts::export_account::run(&parts, job).await
        })
        .queue(1, |parts, job: PruneExpired, _| async move {
            maintenance::prune_expired::run(&parts, job).await
        })
        .schedule(PRUNE_EVERY, |period| PruneExpired { period })
        .workers
    }
}

/// Workers to which the wanted queues are added.
struct Adding<'a, W> {
    jobs: &'a Jobs,
    workers: WorkersBuilder,
    wanted: W,
}

impl<W: Fn(&str) -> bool> Adding<'_, W> {
    fn queue<J, Fut>(mut self, concurrency: usize, handler: fn(Arc<Parts>, J, Run) -> Fut) -> Self
    where
        J: Job,
        Fut: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        if (self.wanted)(J::QUEUE) {
            let parts = Arc::clone(&self.jobs.0);
            self.workers = self
                .workers
                .queue(concurrency, move |job: J, run| handler(Arc::clone(&parts), job, run));
        }
        self
    }

    fn schedule<J: Job>(mut self, every: Duration, job: fn(i64) -> J) -> Self {
        if (self.wanted)(J::QUEUE) {
            self.workers = self.workers.schedule(every, job);
        }
        self
    }
}

/// How long a job that found no database waits to be tried again.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);

/// A job that could not even begin: when the database is away, that is no attempt.
fn not_begun(error: StoreError) -> JobError {
    match error {
        StoreError::Unavailable(_) => JobError::Snooze {
            after: DATABASE_PAUSE,
            reason: error.to_string(),
        },
        StoreError::UserGone | StoreError::Query(_) | StoreError::UnknownWord(_) => store_error(error),
    }
}

/// A failed query: later, if the database is only away.
fn store_error(error: StoreError) -> JobError {
    let reason = error.to_string();
    match error {
        StoreError::Unavailable(_) => JobError::Retry { after: None, reason },
        StoreError::UserGone => JobError::Discard { reason },
        StoreError::Query(_) | StoreError::UnknownWord(_) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a job's query failed");
            JobError::Retry { after: None, reason }
        }
    }
}
