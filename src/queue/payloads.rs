//! The payloads and limits of all jobs. Their handlers are in the crate `jobs`.

use std::time::Duration;

use cura_domain::FileId;
use cura_domain::answer::MAX_ATTEMPT_DURATION;
use serde::{Deserialize, Serialize};

use crate::job::{Job, OnFailure};
use crate::scheduler::periods_of_a_day;

/// Generate the answer with this id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerateAnswer {
    /// The pending assistant message.
    pub message_id: i64,
}

impl Job for GenerateAnswer {
    const QUEUE: &'static str = "generate-answer";
    const MAX_ATTEMPTS: u32 = 4;
    const TIMEOUT: Duration = MAX_ATTEMPT_DURATION;
    const ON_FAILURE: Option<OnFailure> = Some(OnFailure::of::<FailAbandonedAnswer>());

    fn key(&self) -> String {
        self.message_id.to_string()
    }
}

/// End an answer as failed whose job was discarded or lost. The same JSON as [`GenerateAnswer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailAbandonedAnswer {
    /// The abandoned assistant message.
    pub message_id: i64,
}

impl Job for FailAbandonedAnswer {
    const QUEUE: &'static str = "fail-abandoned-answer";
    const MAX_ATTEMPTS: u32 = 25;
    const TIMEOUT: Duration = Duration::from_secs(30);

    fn key(&self) -> String {
        self.message_id.to_string()
    }
}

/// Find a better title for a conversation than an excerpt of its first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TitleConversation {
    /// The conversation.
    pub conversation_id: i64,
}

impl Job for TitleConversation {
    const QUEUE: &'static str = "title-conversation";
    const MAX_ATTEMPTS: u32 = 3;
    const TIMEOUT: Duration = Duration::from_secs(2 * 60);

    fn key(&self) -> String {
        self.conversation_id.to_string()
    }
}

/// Summarize a conversation up to and including a message, so that all of it fits into a prompt. One at a time for each
/// conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummarizeConversation {
    /// The conversation.
    #[serde(default)]
    pub conversation_id: i64,
    /// The last message of the summary.
    pub message_id: i64,
}

impl Job for SummarizeConversation {
    const QUEUE: &'static str = "summarize-conversation";
    const MAX_ATTEMPTS: u32 = 3;
    const TIMEOUT: Duration = Duration::from_secs(5 * 60);

    fn key(&self) -> String {
        // Keys were ids of messages once.
        format!("conversation.{}", self.conversation_id)
    }
}

/// Remove what is left of a deleted conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeConversation {
    /// The conversation.
    pub conversation_id: i64,
    /// 0 at first; later rounds repeat a purge that is overdue.
    #[serde(default)]
    pub round: i64,
}

impl Job for PurgeConversation {
    const QUEUE: &'static str = "purge-conversation";
    const MAX_ATTEMPTS: u32 = 25;
    const TIMEOUT: Duration = Duration::from_secs(15 * 60);

    fn key(&self) -> String {
        format!("{}.{}", self.conversation_id, self.round)
    }
}

/// Erase a deleted user's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EraseUser {
    /// The user.
    pub user_id: i64,
    /// 0 at first; later rounds repeat an erasure that is overdue.
    #[serde(default)]
    pub round: i64,
}

impl Job for EraseUser {
    const QUEUE: &'static str = "erase-user";
    const MAX_ATTEMPTS: u32 = 100;
    const TIMEOUT: Duration = Duration::from_secs(60 * 60);

    fn key(&self) -> String {
        format!("{}.{}", self.user_id, self.round)
    }
}

/// Write the archive of an account export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportAccount {
    /// The archive.
    pub export_id: i64,
}

impl Job for ExportAccount {
    const QUEUE: &'static str = "export-account";
    const MAX_ATTEMPTS: u32 = 5;
    // All that a person keeps is read from the file store, and put there again.
    const TIMEOUT: Duration = Duration::from_secs(30 * 60);
    const ON_FAILURE: Option<OnFailure> = Some(OnFailure::of::<FailExport>());

    fn key(&self) -> String {
        self.export_id.to_string()
    }
}

/// Delete an archive whose job was discarded, so that the next request begins another one. The same JSON as [`ExportAccount`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailExport {
    /// The archive.
    pub export_id: i64,
}

impl Job for FailExport {
    const QUEUE: &'static str = "fail-export";
    const MAX_ATTEMPTS: u32 = 25;
    const TIMEOUT: Duration = Duration::from_secs(30);

    fn key(&self) -> String {
        self.export_id.to_string()
    }
}

/// What one [`PruneExpired`] job removes or enqueues again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PruneKind {
    /// Tickets that were not redeemed.
    Tickets,
    /// Idempotency keys.
    IdempotencyKeys,
    /// Replaced refresh tokens.
    RefreshTokens,
    /// Sessions that are over.
    Sessions,
    /// Archives.
    Exports,
    /// Events. Also what a job of the release before does, which had one job for everything.
    #[default]
    Events,
    /// What titles and summaries cost, once it is long counted.
    ModelCalls,
    /// The log of pushes after its retention.
    Pushes,
    /// Erasures of users and purges of conversations that should have finished.
    OverdueErasures,
    /// Answers that no job will finish.
    AbandonedAnswers,
    /// Rows of uploads whose server died before the file store had them.
    AbandonedUploads,
    /// Files that belong to no message for a month.
    UnattachedFiles,
    /// Uploads that arrive in parts, after their day.
    ResumableUploads,
    /// Files whose scan has no job, or none that ends.
    OverdueScans,
    /// The record of what operators did, after its 400 days.
    OperatorActions,
}

/// Delete what has expired, of one kind: one that is slow delays no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneExpired {
    /// The kind.
    #[serde(default)]
    pub kind: PruneKind,
    /// The period this is for, which makes it one job of all workers.
    pub period: i64,
    /// 0 at first; later rounds go on where a run's time was up.
    #[serde(default)]
    pub round: u32,
}

impl Job for PruneExpired {
    const QUEUE: &'static str = "prune-expired";
    const MAX_ATTEMPTS: u32 = 3;
    const TIMEOUT: Duration = Duration::from_secs(10 * 60);

    fn key(&self) -> String {
        let Self { kind, period, round } = self;
        format!("{kind:?}.{period}.{round}")
    }
}

/// Push an answer that has ended, unless somebody watches or has read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendPush {
    /// The answer.
    pub message_id: i64,
}

impl Job for SendPush {
    const QUEUE: &'static str = "send-push";
    // With the pauses between them more than the hour after which it is given up, whatever the jitter makes of them.
    const MAX_ATTEMPTS: u32 = 50;
    const TIMEOUT: Duration = Duration::from_secs(2 * 60);

    fn key(&self) -> String {
        self.message_id.to_string()
    }
}

/// Take away what phones show of a conversation that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DismissPush {
    /// The conversation.
    pub conversation_id: i64,
    /// The last message that was read.
    pub message_id: i64,
}

impl Job for DismissPush {
    const QUEUE: &'static str = "dismiss-push";
    // As for the push: it is given up after an hour.
    const MAX_ATTEMPTS: u32 = 50;
    const TIMEOUT: Duration = Duration::from_secs(2 * 60);

    fn key(&self) -> String {
        self.message_id.to_string()
    }
}

/// Push a test to all devices of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendTestPush {
    /// The push, whose row is there.
    pub push_id: i64,
}

impl Job for SendTestPush {
    const QUEUE: &'static str = "send-test-push";
    const MAX_ATTEMPTS: u32 = 3;
    const TIMEOUT: Duration = Duration::from_secs(2 * 60);

    fn key(&self) -> String {
        self.push_id.to_string()
    }
}

/// Let devices fall silent that were not seen for long, and remove those that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneDevices {
    /// The hour this is for, which makes it one job of all workers.
    pub period: i64,
}

impl Job for PruneDevices {
    const QUEUE: &'static str = "prune-devices";
    const MAX_ATTEMPTS: u32 = 3;
    const TIMEOUT: Duration = Duration::from_secs(10 * 60);

    fn key(&self) -> String {
        self.period.to_string()
    }
}

/// Make a backup into `BACKUP_DIR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackUp {
    /// The period of `BACKUP_EVERY` this is for, which makes it one job of all workers.
    pub period: i64,
}

impl Job for BackUp {
    const QUEUE: &'static str = "back-up";
    const MAX_ATTEMPTS: u32 = 3;
    // All that the database and the folder of files hold is read.
    const TIMEOUT: Duration = Duration::from_secs(12 * 60 * 60);

    fn key(&self) -> String {
        self.period.to_string()
    }
}

/// Scan a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanUpload {
    /// The file.
    pub file_id: i64,
    /// 0 at first; later rounds repeat a scan that is overdue.
    #[serde(default)]
    pub round: i64,
}

impl ScanUpload {
    /// How often files are looked for that have no scan: so long is a round, which is numbered from the epoch on Postgres' clock.
    pub const ROUND: Duration = Duration::from_secs(10 * 60);

    /// The keys that the jobs of a file may have which are at work in this round: since a day at most, or since the upload.
    pub fn keys_at_work(file: FileId, round: i64) -> Vec<String> {
        let rounds = (round - periods_of_a_day(Self::ROUND)..=round).chain([0]);
        rounds.map(|round| Self { file_id: file.0, round }.key()).collect()
    }
}

impl Job for ScanUpload {
    const QUEUE: &'static str = "scan-upload";
    const MAX_ATTEMPTS: u32 = 3;
    const TIMEOUT: Duration = Duration::from_secs(15 * 60);
    const ON_FAILURE: Option<OnFailure> = Some(OnFailure::of::<FailScan>());

    fn key(&self) -> String {
        format!("{}.{}", self.file_id, self.round)
    }
}

/// End a scan as failed whose job was discarded. The same JSON as [`ScanUpload`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailScan {
    /// The file.
    pub file_id: i64,
}

impl Job for FailScan {
    const QUEUE: &'static str = "fail-scan";
    const MAX_ATTEMPTS: u32 = 25;
    const TIMEOUT: Duration = Duration::from_secs(30);

    fn key(&self) -> String {
        self.file_id.to_string()
    }
}

/// Delete from the file store what is listed for deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteObjects {
    /// The period this is for, which makes it one job of all workers, or the moment; with a file, what became of it.
    #[serde(default)]
    pub period: i64,
    /// The file that was deleted a moment ago, if it is for that.
    #[serde(default)]
    pub file_id: Option<i64>,
}

impl DeleteObjects {
    /// Looks for the object of a file that is being deleted, and for others.
    pub const fn of_file(file: FileId) -> Self {
        Self {
            period: 0,
            file_id: Some(file.0),
        }
    }

    /// Looks for the objects that are listed at this moment, in microseconds: of an avatar, or of the files of a conversation; and for others.
    pub const fn of_moment(at: i64) -> Self {
        Self {
            period: at,
            file_id: None,
        }
    }

    /// Looks for the object of an archive that was deleted at this moment, in microseconds, and for others.
    pub const fn of_export(at: i64) -> Self {
        Self {
            period: at,
            file_id: None,
        }
    }

    /// Looks for the objects of a file whose scan has ended without them, and for others.
    pub const fn of_scan(file: FileId) -> Self {
        Self {
            period: 1,
            file_id: Some(file.0),
        }
    }
}

impl Job for DeleteObjects {
    const QUEUE: &'static str = "delete-objects";
    const MAX_ATTEMPTS: u32 = 3;
    const TIMEOUT: Duration = Duration::from_secs(10 * 60);

    fn key(&self) -> String {
        match self.file_id {
            Some(file) => format!("file.{file}.{}", self.period),
            None => self.period.to_string(),
        }
    }
}
