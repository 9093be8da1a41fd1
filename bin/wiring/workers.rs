//! The workers: every job with what it needs, on the queues this process consumes.

use cura_jobs::{AssistantConfig, BackupSchedule, Concurrency, JobContext, PushConfig, ScanConfig};
use cura_live::Live;
use cura_providers::ai::Ai;
use cura_providers::files::FileStore;
use cura_providers::push::PushProviders;
use cura_providers::scan::{Inspector, ScanHealth};
use cura_queue::{Dependency, Workers, WorkersConfig};
use cura_store::Database;
use serde_json::Value;

use super::app::answers;
use super::clock_and_entropy::{clock, entropy};
use super::dependencies::database_for_migrations;
use super::files::arrivals;
use super::push::push_providers;
use super::scanner::scanner;
use crate::build_info;
use crate::program::StartError;
use crate::settings::Settings;

/// Starts workers on the queues for which `wanted` is true.
///
/// # Errors
/// When the operator's persona, or something that pushes need, cannot be used.
pub fn workers(
    settings: &Settings,
    database: &Database,
    live: Live,
    ai: Ai,
    files: FileStore,
    scans: ScanHealth,
    wanted: impl Fn(&str) -> bool,
) -> Result<Workers, StartError> {
    let answers = answers(settings, database.clone(), live.clone(), &ai);
    let services = push_providers(settings)?;
    let depended_on = Providers {
        ai: ai.clone(),
        push: services.clone(),
        scans,
    };
    let context = JobContext::new(
        database.clone(),
        answers,
        live,
        ai,
        (clock(), entropy()),
        assistant(settings)?,
        PushConfig {
            services,
            hosts: settings.push.hosts.clone(),
            texts: settings.push.texts()?,
            devices_unseen_after: settings.push.devices_unseen_after,
        },
        files,
        ScanConfig {
            inspector: Inspector::new(settings.workers.scan_upload),
            scanner: scanner(settings),
            folder: arrivals(settings)?,
        },
    )
    .with_backups(backups(settings)?);
    let concurrency = Concurrency {
        generate_answer: settings.workers.generate_answer,
        send_push: settings.workers.send_push,
        scan_upload: settings.workers.scan_upload,
    };
    let workers = cura_jobs::register(
        Workers::builder(database.pool(), WorkersConfig::default()).depending_on(depended_on),
        context,
        wanted,
        concurrency,
    );
    Ok(workers.start())
}

/// The AI providers, on which answers depend. Workers tell each other when one has answered: so a fault ends everywhere soon. And
/// push services and scanners, on which no answer depends.
struct Providers {
    ai: Ai,
    push: PushProviders,
    scans: ScanHealth,
}

impl Dependency for Providers {
    fn fault(&self) -> Option<&'static str> {
        self.ai.fault()
    }

    fn failing_services(&self) -> Vec<&'static str> {
        [self.push.failing(), self.scans.failing()].concat()
    }

    fn report(&self) -> Value {
        serde_json::json!({ "ai": self.ai.gates() })
    }

    fn successes(&self) -> u64 {
        self.ai.answers()
    }

    fn awaits_success(&self) -> bool {
        self.ai.has_confirmed_fault()
    }

    fn worked_somewhere(&self) {
        self.ai.recheck();
    }
}

/// Which backups are made; `None` if none are.
fn backups(settings: &Settings) -> Result<Option<BackupSchedule>, StartError> {
    let Some(schedule) = &settings.backups.schedule else {
        return Ok(None);
    };
    let (_, url) = settings.database.session_url()?;
    Ok(Some(BackupSchedule {
        every: schedule.every,
        folder: schedule.folder.clone(),
        keep: schedule.keep,
        recipient: schedule.recipient.clone(),
        // A connection of its own, without the limits of others.
        database: database_for_migrations(settings, "cura-worker")?,
        url: url.to_owned().into(),
        version: build_info::VERSION,
    }))
}

fn assistant(settings: &Settings) -> Result<AssistantConfig, StartError> {
    Ok(AssistantConfig {
        persona: settings.assistant.persona()?.into(),
        context_tokens: settings.assistant.context_tokens,
        // The demo suggests no titles.
        titles: settings.assistant.titles && !settings.ai.providers.is_empty(),
        running_answers: settings.limits.quota.running_answers,
        daily_tokens: settings.limits.quota.daily_tokens,
        max_output_tokens: settings.limits.max_output_tokens,
    })
}
