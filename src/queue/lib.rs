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
//!     dead --> waiting: retry_dead, for an operator (max_attempts + the kind's own)
//!     ready --> cancelled: cancel
//!     waiting --> cancelled: cancel
//!     running --> cancelled: completer or rescuer instead of ready or waiting, once an operator has cancelled it
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
//! | cancelled | `Killed`, its metadata has `cancel`; it has an on-failure job only if an operator has cancelled it |
//!
//! Ready jobs of a queue that is paused ([`pause`]) stay ready.
//!
//! [`cancel`], [`cancel_job`] and [`cancel_jobs_of`] move no running job: they signal the run ([`StopReason::Cancelled`]), whose outcome
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
mod jobs_of_user;
mod kinds;
mod known_jobs;
mod known_workers;
mod notifier;
mod notify_channels;
mod on_failure;
mod outage;
mod pauses;
mod payloads;
mod peers;
mod producer;
mod prune;
mod queue_stats;
mod rescuer;
mod retry;
mod run;
mod scheduler;
mod shutdown;
mod slots;
mod statement_timeout;
mod workers;

pub use cancel::{Cancelled, cancel, cancel_job, cancel_jobs_of};
pub use config::WorkersConfig;
pub use dependency::Dependency;
pub use enqueue::{
    EnqueueOptions, Enqueued, JobKind, JobOwner, NewJob, enqueue, enqueue_or_renew, enqueue_with, make_ready,
    new_job_id,
};
pub use error::QueueError;
pub use job::{Job, JobError, JobId, OnFailure};
pub use job_status::{JobState, JobStatus, find_job, is_any_running, list_unfinished, queue_position};
pub use jobs_of_user::{JobsOfUser, count_unfinished_of};
pub use kinds::{KNOWN_KINDS, KnownKind};
pub use known_jobs::{JobDetails, KnownJob, KnownJobs, find_known, list_known};
pub use known_workers::{KnownWorker, RunningJobs, list_workers};
pub use pauses::{PausedQueue, list_paused, pause, resume};
pub use payloads::{
    BackUp, DeleteObjects, DismissPush, EraseUser, ExportAccount, FailAbandonedAnswer, FailExport, FailScan,
    GenerateAnswer, PruneDevices, PruneExpired, PruneKind, PurgeConversation, ScanUpload, SendPush, SendTestPush,
    SummarizeConversation, TitleConversation,
};
pub use prune::{OverJobs, prune};
pub use queue_stats::{QueueHealth, QueueStats, health, stats};
pub use retry::{DeadJob, DeadJobs, DeadJobsCount, count_dead, list_dead, retire_key, retry_dead};
pub use run::{Claimed, Run, StopReason};
pub use scheduler::{periods_of_a_day, present_period};
pub use shutdown::Drained;
pub use workers::{Workers, WorkersBuilder};

/// The migrations of apalis' schema, which our own (`cura_store::MIGRATOR`) build on.
pub fn migrator() -> sqlx::migrate::Migrator {
    apalis_postgres::PostgresStorage::<()>::migrations()
}
