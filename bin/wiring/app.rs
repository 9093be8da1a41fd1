//! The use cases with everything they need.

use std::sync::Arc;

use chrono::TimeDelta;
use cura_app::health::AiProbe;
use cura_app::passwords::{HashCost, Passwords};
use cura_app::session_watch::SessionWatch;
use cura_app::tokens::{TokenLifetimes, Tokens};
use cura_app::{App, Parts};
use cura_care::CareRules;
use cura_live::Live;
use cura_providers::ai::Ai;
use cura_store::Database;

use super::{clock, entropy, read_file};
use crate::program::StartError;
use crate::settings::{Settings, wrong};

/// Everything people can do.
///
/// # Errors
/// When the cost of a password hash cannot be used.
pub fn app(settings: &Settings, database: Database, live: Live, ai: Ai) -> Result<App, StartError> {
    let cost = HashCost {
        memory_kib: settings.password_hash_memory_kib,
        passes: settings.password_hash_passes,
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let passwords = Passwords::new(cost, cores, entropy()).map_err(|_| {
        wrong(
            "PASSWORD_HASH_MEMORY_KIB",
            "and PASSWORD_HASH_PASSES are no cost argon2 takes",
        )
    })?;
    let lifetimes = TokenLifetimes {
        access: TimeDelta::minutes(settings.access_token_minutes),
        refresh: TimeDelta::days(settings.refresh_token_days),
    };
    Ok(App::new(Parts {
        database,
        live,
        ai,
        clock: clock(),
        entropy: entropy(),
        tokens: Tokens::new(settings.signing_key(), lifetimes),
        passwords,
        data_dir: settings.data_dir.clone(),
        ai_probe: AiProbe::default(),
        session_watch: SessionWatch::default(),
        allowance: settings.allowance,
        care: Arc::new(care(settings)?),
    }))
}

/// The rules of care: the operator's, or those Cura comes with.
///
/// # Errors
/// When the operator's cannot be used.
pub fn care(settings: &Settings) -> Result<CareRules, StartError> {
    match &settings.care_rules_file {
        None => CareRules::built_in().map_err(|error| StartError::Other(error.to_string())),
        Some(path) => CareRules::parse(&read_file("CARE_RULES_FILE", path)?)
            .map_err(|error| wrong("CARE_RULES_FILE", format!("cannot be used: {error}")).into()),
    }
}
