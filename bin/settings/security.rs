//! Tokens and passwords.

use chrono::TimeDelta;
use cura_app::auth_tokens::TokenLifetimes;
use cura_app::passwords::HashCost;
use cura_providers::Secret;
use secrecy::ExposeSecret;

use super::process::Environment;
use super::variables::{SettingError, Variables, wrong};

/// The signing key of a development server without `SECRET_KEY`; refused elsewhere.
const DEVELOPMENT_KEY: &str = "development-only-key-never-use-it-in-production";
/// HS256 wants a key at least as long as its hash (RFC 7518, section 3.2).
const MIN_KEY_BYTES: usize = 32;

/// Section "Security".
#[derive(Debug, Clone)]
pub struct SecuritySettings {
    /// `SECRET_KEY`; `None`, which only development allows, means the development key.
    pub secret_key: Option<Secret>,
    /// `ACCESS_TOKEN_EXPIRE_MINUTES`, `REFRESH_TOKEN_EXPIRE_DAYS`, `SESSION_MAX_DAYS`
    pub token_lifetimes: TokenLifetimes,
    /// `PASSWORD_HASH_MEMORY_KIB`, `PASSWORD_HASH_PASSES`
    pub password_hash: HashCost,
}

impl SecuritySettings {
    pub(super) fn read(from: &Variables, environment: Environment) -> Result<Self, SettingError> {
        if from.text("ALGORITHM").is_some_and(|algorithm| algorithm != "HS256") {
            return Err(wrong("ALGORITHM", "must be HS256, the only one there is"));
        }
        let access_minutes = from.within("ACCESS_TOKEN_EXPIRE_MINUTES", 30, 1..=24 * 60)?;
        let refresh_days = from.within("REFRESH_TOKEN_EXPIRE_DAYS", 7, 1..=365)?;
        let session_days = from.within("SESSION_MAX_DAYS", 90, 1..=3650)?;
        Ok(Self {
            secret_key: secret_key(from, environment)?,
            token_lifetimes: TokenLifetimes {
                access: TimeDelta::minutes(access_minutes),
                refresh: TimeDelta::days(refresh_days),
                session: TimeDelta::days(session_days),
            },
            password_hash: HashCost {
                memory_kib: from.within("PASSWORD_HASH_MEMORY_KIB", 19_456, 8..=1_048_576)?,
                passes: from.within("PASSWORD_HASH_PASSES", 2, 1..=20)?,
            },
        })
    }

    /// The key that signs access tokens.
    pub fn signing_key(&self) -> &[u8] {
        self.secret_key
            .as_ref()
            .map_or(DEVELOPMENT_KEY, ExposeSecret::expose_secret)
            .as_bytes()
    }
}

fn secret_key(from: &Variables, environment: Environment) -> Result<Option<Secret>, SettingError> {
    let key = from.secret("SECRET_KEY");
    let problem = match key.as_ref().map(ExposeSecret::expose_secret) {
        Some(key) if key.len() < MIN_KEY_BYTES => "is shorter than 32 bytes; make one with `cura-admin secret`",
        _ if environment == Environment::Development => return Ok(key),
        None => "is missing; make one with `cura-admin secret`",
        Some(DEVELOPMENT_KEY) => "is the development key; make one with `cura-admin secret`",
        Some(_) => return Ok(key),
    };
    Err(wrong("SECRET_KEY", problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn production_and_staging_refuse_a_missing_default_or_short_key() {
        for environment in [Environment::Staging, Environment::Production] {
            for bad in ["", DEVELOPMENT_KEY, "k3y-of-9-b"] {
                let variables = Variables::from(&[("SECRET_KEY", bad)][..]);
                let error = SecuritySettings::read(&variables, environment).unwrap_err().to_string();
                assert!(
                    error.starts_with("SECRET_KEY is") && error.contains("cura-admin secret"),
                    "{error}"
                );
                assert!(bad.is_empty() || !error.contains(bad), "the value is shown: {error}");
            }
        }
    }
}
