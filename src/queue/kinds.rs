//! Every kind of job there is, for operators: a job of a queue that is not among them has no handler.

use crate::job::Job;
use crate::payloads::{
    BackUp, DeleteObjects, DismissPush, EraseUser, ExportAccount, FailAbandonedAnswer, FailExport, FailScan,
    GenerateAnswer, PruneDevices, PruneExpired, PurgeConversation, ScanUpload, SendPush, SendTestPush,
    SummarizeConversation, TitleConversation,
};

/// What all jobs of one queue have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownKind {
    /// The queue.
    pub queue: &'static str,
    /// How many attempts a new job has.
    pub max_attempts: u32,
}

impl KnownKind {
    const fn of<J: Job>() -> Self {
        Self {
            queue: J::QUEUE,
            max_attempts: J::MAX_ATTEMPTS,
        }
    }

    /// The kind of the jobs of this queue, if there is one.
    pub fn of_queue(queue: &str) -> Option<Self> {
        KNOWN_KINDS.into_iter().find(|kind| kind.queue == queue)
    }
}

/// Every kind of job.
pub const KNOWN_KINDS: [KnownKind; 17] = [
    KnownKind::of::<GenerateAnswer>(),
    KnownKind::of::<FailAbandonedAnswer>(),
    KnownKind::of::<TitleConversation>(),
    KnownKind::of::<SummarizeConversation>(),
    KnownKind::of::<PurgeConversation>(),
    KnownKind::of::<EraseUser>(),
    KnownKind::of::<ExportAccount>(),
    KnownKind::of::<FailExport>(),
    KnownKind::of::<PruneExpired>(),
    KnownKind::of::<SendPush>(),
    KnownKind::of::<DismissPush>(),
    KnownKind::of::<SendTestPush>(),
    KnownKind::of::<PruneDevices>(),
    KnownKind::of::<ScanUpload>(),
    KnownKind::of::<FailScan>(),
    KnownKind::of::<DeleteObjects>(),
    KnownKind::of::<BackUp>(),
];
