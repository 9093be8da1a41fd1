//! The payloads of all jobs. Their behaviour is in the crate `jobs`.

use std::time::Duration;

use cura_domain::answer::MAX_ATTEMPT_DURATION;
use serde::{Deserialize, Serialize};

use crate::{Job, OnFailure};

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

/// Close the answer with this id as failed: its job is dead. The same JSON as [`GenerateAnswer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailAbandonedAnswer {
    /// The assistant message nobody will finish.
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

/// Find a better title for a conversation than a cut of its first message.
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

/// Put what was said up to and including a message in short, so that a model can be told all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummarizeConversation {
    /// The last message of what is put in short.
    pub message_id: i64,
}

impl Job for SummarizeConversation {
    const QUEUE: &'static str = "summarize-conversation";
    const MAX_ATTEMPTS: u32 = 3;
    const TIMEOUT: Duration = Duration::from_secs(5 * 60);

    fn key(&self) -> String {
        self.message_id.to_string()
    }
}

/// Remove what is left of a deleted conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeConversation {
    /// The conversation.
    pub conversation_id: i64,
    /// 0 when it was deleted; another number when that job did not do it.
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

/// Erase everything of a user who asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EraseUser {
    /// The user.
    pub user_id: i64,
    /// 0 when it was asked for; another number when that job did not do it.
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

/// Make the archive with this id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportAccount {
    /// The archive.
    pub export_id: i64,
}

impl Job for ExportAccount {
    const QUEUE: &'static str = "export-account";
    const MAX_ATTEMPTS: u32 = 5;
    const TIMEOUT: Duration = Duration::from_secs(15 * 60);

    fn key(&self) -> String {
        self.export_id.to_string()
    }
}

/// Forget what has had its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneExpired {
    /// Which period this is for.
    pub period: i64,
}

impl Job for PruneExpired {
    const QUEUE: &'static str = "prune-expired";
    const MAX_ATTEMPTS: u32 = 3;
    const TIMEOUT: Duration = Duration::from_secs(10 * 60);

    fn key(&self) -> String {
        self.period.to_string()
    }
}
