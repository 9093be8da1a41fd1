//! Work: durable jobs on Postgres. A job is enqueued in the transaction that makes it necessary, and is run at least once.
//!
//! Jobs live in apalis' own schema and run in apalis' `Worker`; the [`apalis_core::backend::Backend`] between the two is
//! ours, because the stock one loses wake-ups and jobs. What ours guarantees:
//! - a job whose worker dies is noticed within 5 seconds and run again, at most [`Job::MAX_ATTEMPTS`] times;
//! - a job whose worker lives is never run a second time at once, however busy, slow or draining the worker is;
//! - the outcome of a run is written until Postgres has it, and never for a run that was taken away;
//! - a job that fails for good is kept with its reason, and its heir ([`Job::ON_FAILURE`]) is enqueued in the same statement.

mod cleaner;
mod completer;
mod config;
mod disposition;
mod enqueue;
mod error;
mod executor;
mod instance;
mod job;
mod notifier;
mod on_failure;
mod payloads;
mod producer;
mod rescuer;
mod run;
mod scheduler;
mod shutdown;
mod stats;
mod timeout;
mod workers;

pub use config::WorkersConfig;
pub use enqueue::{
    Cancelled, EnqueueOptions, Enqueued, cancel, enqueue, enqueue_with, is_any_running, list_unfinished, make_ready,
    queue_position,
};
pub use error::QueueError;
pub use job::{Job, JobError, JobId};
pub use on_failure::OnFailure;
pub use payloads::{
    EraseUser, ExportAccount, FailAbandonedAnswer, GenerateAnswer, PruneExpired, PurgeConversation,
    SummarizeConversation, TitleConversation,
};
pub use run::{Run, StopReason};
pub use shutdown::Drained;
pub use stats::{QueueHealth, QueueStats, health, stats};
pub use workers::{Workers, WorkersBuilder};

/// The migrations of apalis' schema, which our own (`cura_store::MIGRATOR`) build on.
pub fn migrator() -> sqlx::migrate::Migrator {
    apalis_postgres::PostgresStorage::<()>::migrations()
}
