//! The use cases of the API, with everything they need.

use std::sync::Arc;

use cura_app::health::AiProbe;
use cura_app::passwords::Passwords;
use cura_app::session_watch::SessionWatch;
use cura_app::tokens::Tokens;
use cura_app::{App, Parts};
use cura_care::CareRules;
use cura_live::Live;
use cura_providers::ai::Ai;
use cura_store::Database;

use super::sources::{clock, entropy};
use crate::program::StartError;
use crate::settings::{Settings, wrong};

/// The use cases of the API.
///
/// # Errors
/// When argon2 refuses the cost of a password hash, or the care rules cannot be used.
pub fn app(settings: &Settings, database: Database, live: Live, ai: Ai) -> Result<App, StartError> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let passwords = Passwords::new(settings.security.password_hash, cores, entropy()).map_err(|_| {
        wrong(
            "PASSWORD_HASH_MEMORY_KIB",
            "and PASSWORD_HASH_PASSES are no cost argon2 takes",
        )
    })?;
    let care = match settings.care.operator_rules()? {
        Some(rules) => rules,
        None => CareRules::built_in().map_err(|error| StartError::Other(error.to_string()))?,
    };
    Ok(App::new(Parts {
        database,
        live,
        ai,
        clock: clock(),
        entropy: entropy(),
        tokens: Tokens::new(settings.security.signing_key(), settings.security.token_lifetimes),
        passwords,
        data_dir: settings.process.data_dir.clone(),
        ai_probe: AiProbe::default(),
        session_watch: SessionWatch::default(),
        allowance: settings.limits.allowance,
        care: Arc::new(care),
    }))
}
