//! The jobs workers run. This file is the registry: one line for each job. Each job's file says why it may run twice.

mod answers;
mod batches;
mod context;
mod errors;
mod registration;
mod words;

mod accounts {
    mod archive;
    pub(crate) mod erase_user;
    pub(crate) mod export_account;
    mod export_error;
    mod exported_objects;
    mod exported_tables;
    mod fetch_ahead;
    mod manifest;
}
mod conversations {
    mod ask_model;
    pub(crate) mod purge_conversation;
    mod reserved_call;
    pub(crate) mod summarize_conversation;
    pub(crate) mod title_conversation;
}
mod devices {
    mod deliver;
    pub(crate) mod dismiss_push;
    pub(crate) mod prune_devices;
    pub(crate) mod send_push;
    pub(crate) mod send_test_push;
}
mod files {
    pub(crate) mod delete_objects;
    pub(crate) mod examine;
    pub(crate) mod listed_objects;
    pub(crate) mod scan_upload;
}
mod maintenance {
    pub(crate) mod back_up;
    mod overdue;
    pub(crate) mod prune_expired;
}

use std::sync::Arc;
use std::time::Duration;

use cura_queue::{BackUp, DeleteObjects, PruneDevices, PruneExpired, PruneKind, ScanUpload, WorkersBuilder};

use accounts::{erase_user, export_account};
use answers::{fail_abandoned_answer, generate_answer};
pub use context::{AssistantConfig, JobContext, PushConfig};
use conversations::{purge_conversation, summarize_conversation, title_conversation};
use devices::{dismiss_push, prune_devices, send_push, send_test_push};
pub use files::examine::ScanConfig;
use files::{delete_objects, scan_upload};
pub use maintenance::back_up::BackupSchedule;
use maintenance::{back_up, prune_expired};
use registration::Registry;

/// How many jobs one process runs at a time, where operators choose it.
#[derive(Debug, Clone, Copy)]
pub struct Concurrency {
    /// Answers, which mostly wait for the provider.
    pub generate_answer: usize,
    /// Pushes, each to all devices of a person.
    pub send_push: usize,
    /// Scans, each with a process of its own.
    pub scan_upload: usize,
}

/// Every job: how many one process runs at a time, and its handler, whose payload type names its queue.
fn registry(concurrency: Concurrency, backups_every: Option<Duration>) -> Registry {
    let registry = match backups_every {
        Some(every) => Registry::default().schedule(every, |period| BackUp { period }),
        None => Registry::default(),
    };
    registry
        .job(1, back_up::run)
        .job(concurrency.generate_answer, generate_answer::run)
        .job(1, fail_abandoned_answer::run)
        .job(4, title_conversation::run)
        .job(4, summarize_conversation::run)
        .job(2, purge_conversation::run)
        .job(3, erase_user::run)
        // Two, so that one person with many files does not keep the others waiting.
        .job(2, export_account::run)
        .job(1, export_account::fail)
        // Two, so that a kind with many rows does not keep the others waiting.
        .job(2, prune_expired::run)
        .schedule(prune_expired::INTERVAL, |period| prune(PruneKind::Tickets, period))
        .schedule(prune_expired::INTERVAL, |period| {
            prune(PruneKind::IdempotencyKeys, period)
        })
        .schedule(prune_expired::INTERVAL, |period| {
            prune(PruneKind::RefreshTokens, period)
        })
        .schedule(prune_expired::INTERVAL, |period| prune(PruneKind::Sessions, period))
        .schedule(prune_expired::INTERVAL, |period| prune(PruneKind::Exports, period))
        .schedule(prune_expired::INTERVAL, |period| prune(PruneKind::Events, period))
        .schedule(prune_expired::INTERVAL, |period| prune(PruneKind::ModelCalls, period))
        .schedule(prune_expired::INTERVAL, |period| prune(PruneKind::Pushes, period))
        .schedule(prune_expired::INTERVAL, |period| {
            prune(PruneKind::OperatorActions, period)
        })
        .schedule(prune_expired::INTERVAL, |period| {
            prune(PruneKind::OverdueErasures, period)
        })
        .schedule(prune_expired::INTERVAL, |period| {
            prune(PruneKind::AbandonedAnswers, period)
        })
        .schedule(prune_expired::INTERVAL, |period| {
            prune(PruneKind::AbandonedUploads, period)
        })
        .schedule(prune_expired::INTERVAL, |period| {
            prune(PruneKind::UnattachedFiles, period)
        })
        .schedule(prune_expired::INTERVAL, |period| {
            prune(PruneKind::ResumableUploads, period)
        })
        .job(concurrency.send_push, send_push::run)
        .job(2, dismiss_push::run)
        .job(1, send_test_push::run)
        .job(1, prune_devices::run)
        .schedule(prune_devices::INTERVAL, |period| PruneDevices { period })
        .job(concurrency.scan_upload, scan_upload::run)
        .job(1, scan_upload::fail)
        .schedule(ScanUpload::ROUND, |period| prune(PruneKind::OverdueScans, period))
        .job(2, delete_objects::run)
        .schedule(delete_objects::INTERVAL, |period| DeleteObjects {
            period,
            file_id: None,
        })
}

const fn prune(kind: PruneKind, period: i64) -> PruneExpired {
    PruneExpired { kind, period, round: 0 }
}

/// The name of every queue.
pub fn queues() -> Vec<&'static str> {
    let concurrency = Concurrency {
        generate_answer: 1,
        send_push: 1,
        scan_upload: 1,
    };
    registry(concurrency, None).queues()
}

/// Adds the jobs of the `wanted` queues to `workers`.
pub fn register(
    workers: WorkersBuilder,
    context: JobContext,
    wanted: impl Fn(&str) -> bool,
    concurrency: Concurrency,
) -> WorkersBuilder {
    let backups_every = context.backups.as_ref().map(|backups| backups.every);
    registry(concurrency, backups_every).add_to(workers, &Arc::new(context), wanted)
}

#[cfg(test)]
mod tests {
    use cura_queue::KNOWN_KINDS;

    #[test]
    fn operators_can_name_every_queue_that_has_a_handler() {
        let mut handled = super::queues();
        let mut known: Vec<&str> = KNOWN_KINDS.iter().map(|kind| kind.queue).collect();
        handled.sort_unstable();
        known.sort_unstable();
        assert_eq!(known, handled);
    }
}
