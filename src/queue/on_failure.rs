//! Heirs: a dead job leaves its payload to a job of another kind. Which one is written into the job when it is enqueued, so
//! that whoever finds it dead need not know its kind.

use crate::Job;

/// A kind of job that inherits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnFailure {
    pub(crate) queue: &'static str,
    pub(crate) max_attempts: u32,
}

impl OnFailure {
    /// Jobs of kind `J`, whose payload is the same JSON as that of the dead.
    pub const fn of<J: Job>() -> Self {
        Self {
            queue: J::QUEUE,
            max_attempts: J::MAX_ATTEMPTS,
        }
    }
}

/// The key in a job's metadata that names the queue of its heir.
pub(crate) const QUEUE_KEY: &str = "on_failure";
/// The key in a job's metadata that says how often its heir may be tried.
pub(crate) const ATTEMPTS_KEY: &str = "on_failure_attempts";

/// The INSERT of the heirs of what is dead in a CTE, which returns the id, job, status and metadata of jobs.
macro_rules! enqueue_on_failure_jobs {
    ($jobs:literal) => {
        concat!(
            "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, priority, idempotency_key)
             SELECT apalis.generate_ulid(), job, metadata -> 'on_failure', 'Pending', 0,
                    (metadata -> 'on_failure_attempts')::int, now(), 0, id
             FROM ",
            $jobs,
            " WHERE status = 'Killed' AND metadata ? 'on_failure'
             ON CONFLICT (job_type, idempotency_key) DO NOTHING"
        )
    };
}
pub(crate) use enqueue_on_failure_jobs;
