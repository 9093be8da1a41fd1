//! What every job is given.

use std::sync::Arc;

use chrono::TimeDelta;
use cura_answers::Answers;
use cura_domain::push_endpoint::PushHosts;
use cura_domain::push_text::PushTexts;
use cura_domain::{Clock, Entropy, UserId};
use cura_live::Live;
use cura_providers::ai::{Ai, FileMemory};
use cura_providers::files::FileStore;
use cura_providers::push::{AlertPause, PushProviders};
use cura_store::Database;

use crate::files::examine::ScanConfig;
use crate::maintenance::back_up::BackupSchedule;

/// The dependencies of all jobs.
pub struct JobContext {
    pub(crate) database: Database,
    pub(crate) answers: Answers,
    pub(crate) live: Live,
    pub(crate) ai: Ai,
    pub(crate) clock: Clock,
    pub(crate) assistant: AssistantConfig,
    pub(crate) push: PushConfig,
    pub(crate) files: FileStore,
    pub(crate) file_memory: FileMemory,
    pub(crate) entropy: Entropy,
    pub(crate) scans: ScanConfig,
    pub(crate) backups: Option<BackupSchedule>,
    /// Says that too many devices would be lost.
    pub(crate) mass_loss_alert: AlertPause,
    /// Says that a push service refuses what we send.
    pub(crate) refused_push_alert: AlertPause,
}

/// How answers are pushed.
#[derive(Clone)]
pub struct PushConfig {
    /// The push services.
    pub services: PushProviders,
    /// Those of browsers that are allowed beside the known ones.
    pub hosts: PushHosts,
    /// What is said where nothing private is shown.
    pub texts: PushTexts,
    /// After how long a device that was not seen is not pushed to any more.
    pub devices_unseen_after: TimeDelta,
}

/// How the assistant answers.
#[derive(Debug, Clone)]
pub struct AssistantConfig {
    /// The beginning of every system prompt: who the assistant is.
    pub persona: Arc<str>,
    /// The most tokens of a prompt.
    pub context_tokens: usize,
    /// Whether the model suggests titles.
    pub titles: bool,
    /// How many answers of one user may be written at a time; 0 is no limit.
    pub running_answers: u32,
    /// Tokens a person may use in a day (UTC), titles and summaries included; 0 is no limit.
    pub daily_tokens: u64,
    /// The longest answer, in the provider's tokens; `None` leaves it to the provider.
    pub max_output_tokens: Option<u32>,
}

impl JobContext {
    /// Puts the dependencies together.
    pub fn new(
        database: Database,
        answers: Answers,
        live: Live,
        ai: Ai,
        (clock, entropy): (Clock, Entropy),
        assistant: AssistantConfig,
        push: PushConfig,
        files: FileStore,
        scans: ScanConfig,
    ) -> Self {
        Self {
            database,
            answers,
            live,
            ai,
            clock,
            assistant,
            push,
            files,
            file_memory: FileMemory::default(),
            entropy,
            scans,
            backups: None,
            mass_loss_alert: AlertPause::default(),
            refused_push_alert: AlertPause::default(),
        }
    }

    /// Makes backups, too.
    pub fn with_backups(self, backups: Option<BackupSchedule>) -> Self {
        Self { backups, ..self }
    }

    /// The most tokens of a person's prompt: as configured, or fewer where the model is known to refuse longer ones.
    pub(crate) fn max_prompt_tokens(&self, person: UserId) -> usize {
        let known = self.ai.max_prompt_tokens(Some(person));
        known.map_or(self.assistant.context_tokens, |known| {
            known.min(self.assistant.context_tokens)
        })
    }
}
