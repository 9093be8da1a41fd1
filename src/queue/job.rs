//! What a job is: a small payload of ids, a queue, and how often and how long it may be tried.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::OnFailure;

/// The id of a job: a ULID.
pub type JobId = String;

/// A kind of job. Payloads carry ids only: what a job works on is read when it runs.
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The queue, a kebab-case constant; never a Rust path, which would change with the code.
    const QUEUE: &'static str;
    /// How many runs a job gets before it is dead.
    const MAX_ATTEMPTS: u32;
    /// How long one run may take.
    const TIMEOUT: Duration;
    /// The kind of job that receives the payload of a dead one, in the statement that makes it dead.
    const ON_FAILURE: Option<OnFailure> = None;

    /// What makes two jobs of this queue the same one.
    fn key(&self) -> String;
}

/// Why a run did not do its job. The code that knows decides whether trying again makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobError {
    /// Try again: after this long, or with exponential back-off. Spends an attempt.
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
    /// Somebody else should go on: the job is ready at once and no attempt is spent.
    Release,
    /// Nothing could be done yet, through no fault of the job: ready again after this long, and no attempt is spent.
    Snooze {
        /// The wait.
        after: Duration,
        /// For the operator; never user data.
        reason: String,
    },
}
