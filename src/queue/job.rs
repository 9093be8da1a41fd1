//! What a job is: a small payload of ids, a queue, and how often and how long it may be tried.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The id of a job: a ULID.
pub type JobId = String;

/// A kind of job. Payloads carry ids only: what a job works on is read when it runs.
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The queue, a kebab-case constant; never a Rust path, which would change with the code.
    const QUEUE: &'static str;
    /// How many attempts a job has before it is discarded.
    const MAX_ATTEMPTS: u32;
    /// How long one run may take.
    const TIMEOUT: Duration;
    /// The kind of job that receives the payload of a discarded one, in the statement that discards it.
    const ON_FAILURE: Option<OnFailure> = None;

    /// Two jobs of one queue with the same key are one job.
    fn key(&self) -> String;
}

/// The kind of job that is enqueued when a job is discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnFailure {
    pub(crate) queue: &'static str,
    pub(crate) max_attempts: u32,
}

impl OnFailure {
    /// Jobs of kind `J`, whose payload is the same JSON as that of the discarded job.
    pub const fn of<J: Job>() -> Self {
        Self {
            queue: J::QUEUE,
            max_attempts: J::MAX_ATTEMPTS,
        }
    }
}

/// Why a run did not complete its job, and so what becomes of it. The handler decides whether trying again makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobError {
    /// Run it again after this long or with exponential back-off, whichever is longer. Spends an attempt.
    Retry {
        /// The least wait; `None` leaves it to the queue.
        after: Option<Duration>,
        /// For the operator; never user data.
        reason: String,
    },
    /// Trying again makes no sense: the job is dead.
    Discard {
        /// For the operator; never user data.
        reason: String,
    },
    /// Another worker should go on: the job is ready at once, and no attempt is spent.
    Release,
    /// The job cannot be done yet, through no fault of its own: ready again after this long, and no attempt is spent.
    Snooze {
        /// The wait.
        after: Duration,
        /// For the operator; never user data.
        reason: String,
    },
}
