//! Durable jobs on Postgres: a job is enqueued in the transaction that makes it necessary, and runs at least once.
//!
//! Jobs live in apalis' own schema and run in apalis' `Worker`; the [`apalis_core::backend::Backend`] between the two is
//! ours, because the stock one loses notifications and jobs. What ours guarantees:
//! - a job whose worker dies is rescued within 5 seconds and runs again, at most [`Job::MAX_ATTEMPTS`] times;
//! - a job whose worker lives never runs twice at once, however busy, slow or draining the worker is;
//! - the outcome of a run is written until Postgres has it, and never for a run whose lease was lost;
//! - a job that is discarded is kept with its reason, and its on-failure job ([`Job::ON_FAILURE`]) is enqueued in the same
//!   statement.
//!
//! # The states of a job
//!
//! ```mermaid
//! stateDiagram-v2
//!     [*] --> ready: enqueue
//!     [*] --> waiting: enqueue_with a delay
//!     waiting --> ready: run_at passes, or make_ready
//!     ready --> running: producer claims it (attempt + 1)
//!     running --> done: completer, Complete, or the handler, in the transaction that does the work
//!     running --> waiting: completer, Retry after a back-off, or a snooze (attempt − 1)
//!     running --> ready: completer, Release (attempt − 1)
//!     running --> ready: rescuer, when its instance died
//!     running --> ready: producer, when its claim is orphaned (attempt − 1)
//!     running --> dead: completer, Discard, also instead of Retry on the last attempt
//!     running --> dead: rescuer, when its instance died on the last attempt
//!     ready --> cancelled: cancel
//!     waiting --> cancelled: cancel
//!     done --> [*]: cleaner, after a day
//!     dead --> [*]: cleaner, after 30 days
//!     cancelled --> [*]: cleaner, after 30 days
//! ```
//!
//! | state | its row |
//! | --- | --- |
//! | ready | `Pending`, `run_at` has passed |
//! | waiting | `Pending`, `run_at` is yet to come |
//! | running | `Running`, `lock_by` names the instance that claimed it |
//! | done | `Done` |
//! | dead | `Killed`; its on-failure job was enqueued in the statement that wrote this |
//! | cancelled | `Killed`, without an on-failure job |
//!
//! [`cancel`] and [`cancel_jobs_of`] move no running job: they signal the run ([`StopReason::Cancelled`]), whose outcome
//! decides as always.

mod apalis_bridge;
mod cancel;
mod claimed_job;
mod cleaner;
mod clock_steps;
mod completer;
mod config;
mod dependency;
mod disposition;
mod due_times;
mod enqueue;
mod error;
mod executor;
mod heartbeat;
mod instance;
mod job;
mod job_status;
mod notifier;
mod notify_channels;
mod on_failure;
mod outage;
mod payloads;
mod peers;
mod producer;
mod queue_stats;
mod rescuer;
mod run;
mod scheduler;
mod shutdown;
mod slots;
mod statement_timeout;
mod workers;

pub use cancel::{Cancelled, cancel, cancel_jobs_of};
pub use config::WorkersConfig;
pub use dependency::Dependency;
pub use enqueue::{
    EnqueueOptions, Enqueued, JobKind, JobOwner, NewJob, enqueue, enqueue_or_renew, enqueue_with, make_ready,
    new_job_id,
};
pub use error::QueueError;
pub use job::{Job, JobError, JobId, OnFailure};
pub use job_status::{JobState, JobStatus, find_job, is_any_running, list_unfinished, queue_position};
pub use payloads::{
    DeleteObjects, DismissPush, EraseUser, ExportAccount, FailAbandonedAnswer, FailExport, FailScan, GenerateAnswer,
    PruneDevices, PruneExpired, PruneKind, PurgeConversation, ScanUpload, SendPush, SendTestPush,
    SummarizeConversation, TitleConversation,
};
pub use queue_stats::{QueueHealth, QueueStats, health, stats};
pub use run::{Claimed, Run, StopReason};
pub use scheduler::{periods_of_a_day, present_period};
pub use shutdown::Drained;
pub use workers::{Workers, WorkersBuilder};

/// The migrations of apalis' schema, which our own (`cura_store::MIGRATOR`) build on.
pub fn migrator() -> sqlx::migrate::Migrator {
    apalis_postgres::PostgresStorage::<()>::migrations()
}
