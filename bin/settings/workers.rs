//! How many jobs a worker process runs at a time.

use super::variables::Variables;

/// Section "Workers".
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// `WORKER_CONCURRENCY_GENERATE_ANSWER`
    pub generate_answer: usize,
    /// `WORKER_CONCURRENCY_SEND_PUSH`
    pub send_push: usize,
    /// `WORKER_CONCURRENCY_SCAN_UPLOAD`
    pub scan_upload: usize,
}

impl WorkerSettings {
    pub(super) fn read(from: &Variables) -> Self {
        Self {
            generate_answer: from.within("WORKER_CONCURRENCY_GENERATE_ANSWER", 256, 1..=10_000),
            send_push: from.within("WORKER_CONCURRENCY_SEND_PUSH", 8, 1..=1000),
            scan_upload: from.within("WORKER_CONCURRENCY_SCAN_UPLOAD", 2, 1..=64),
        }
    }
}
