//! How many jobs a worker process runs at a time.

use super::variables::Variables;

/// Section "Workers".
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// `WORKER_CONCURRENCY_GENERATE_ANSWER`
    pub generate_answer: usize,
}

impl WorkerSettings {
    pub(super) fn read(from: &Variables) -> Self {
        Self {
            generate_answer: from.within("WORKER_CONCURRENCY_GENERATE_ANSWER", 256, 1..=10_000),
        }
    }
}
