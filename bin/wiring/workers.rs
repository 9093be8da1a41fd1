//! The worker side: jobs registered on the wanted queues.

use cura_domain::prompt::PERSONA;
use cura_jobs::{Concurrency, Jobs, Manner};
use cura_live::Live;
use cura_providers::ai::Ai;
use cura_queue::{Workers, WorkersConfig};
use cura_store::Database;

use super::{clock, read_file};
use crate::program::StartError;
use crate::settings::{Settings, wrong};

/// How Cura speaks.
///
/// # Errors
/// When the operator's persona cannot be read.
pub fn manner(settings: &Settings) -> Result<Manner, StartError> {
    let persona = match &settings.persona_file {
        None => PERSONA.to_owned(),
        Some(path) => read_file("AI_PERSONA_FILE", path)?,
    };
    if persona.trim().is_empty() {
        return Err(wrong("AI_PERSONA_FILE", "is an empty file").into());
    }
    Ok(Manner {
        persona: persona.into(),
        context_tokens: settings.context_tokens,
        // A voice that says what it is has no titles to suggest.
        titles: settings.titles && !settings.ai.is_empty(),
        running_answers: settings.allowance.running_answers,
    })
}

/// Running workers for the wanted queues.
///
/// # Errors
/// When the operator's persona cannot be read.
pub fn workers(
    settings: &Settings,
    database: &Database,
    live: Live,
    ai: Ai,
    wanted: impl Fn(&str) -> bool,
) -> Result<Workers, StartError> {
    let jobs = Jobs::new(database.clone(), live, ai, clock(), manner(settings)?);
    let concurrency = Concurrency {
        generate_answer: settings.generate_answer_concurrency,
    };
    let workers = jobs.register(
        Workers::builder(database.pool(), WorkersConfig::default()),
        wanted,
        concurrency,
    );
    Ok(workers.start())
}
