//! On-failure jobs: a job that is discarded leaves its payload to a job of another kind, enqueued in the statement that
//! discards it. Its queue and attempts are stored with the job, so that any worker can do this without knowing its kind.

/// The key in a job's metadata that names the queue of its on-failure job.
pub(crate) const QUEUE_KEY: &str = "on_failure";
/// The key in a job's metadata that says how often its on-failure job may be tried.
pub(crate) const ATTEMPTS_KEY: &str = "on_failure_attempts";

/// The INSERT of the on-failure jobs of what a CTE has discarded; the CTE returns the id, job, status, attempts and metadata of jobs. Its
/// key is the id of the discarded job and its attempts: one that an operator has retried is discarded again on a later attempt, and has
/// another on-failure job then, even while the first one still runs. A job that was renewed begins with its first attempt again, and so
/// does its on-failure job, if that is over. Returns a row for each, of which workers are to be told: apalis' trigger tells them of new
/// ones only.
macro_rules! enqueue_on_failure_jobs {
    ($jobs:literal) => {
        concat!(
            "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, priority, idempotency_key)
             SELECT apalis.generate_ulid(), job, metadata -> 'on_failure', 'Pending', 0,
                    (metadata -> 'on_failure_attempts')::int, now(), 0, id || '.' || attempts
             FROM ",
            $jobs,
            " WHERE status = 'Killed' AND metadata ? 'on_failure'
             ON CONFLICT (job_type, idempotency_key) DO UPDATE
             SET job = EXCLUDED.job, status = 'Pending', attempts = 0, max_attempts = EXCLUDED.max_attempts, run_at = now(),
                 done_at = NULL, last_result = NULL, lock_by = NULL, lock_at = NULL
             WHERE jobs.status IN ('Done', 'Killed')
             RETURNING id"
        )
    };
}
pub(crate) use enqueue_on_failure_jobs;
