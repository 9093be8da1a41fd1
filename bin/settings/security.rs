//! Tokens and passwords.

use chrono::TimeDelta;
use cura_app::SecretKeys;
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
    /// `SECRET_KEY_PREVIOUS`: what it signed is accepted, too.
    pub previous_secret_key: Option<Secret>,
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
            previous_secret_key: previous_secret_key(from, environment)?,
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

    /// The keys that tokens are signed with.
    pub fn secret_keys(&self) -> SecretKeys<'_> {
        let previous = self.previous_secret_key.as_ref();
        SecretKeys {
            current: self.signing_key(),
            previous: previous.map(|key| key.expose_secret().as_bytes()),
        }
    }

    /// `SECRET_KEY`, or the development key.
    pub fn signing_key(&self) -> &[u8] {
        self.secret_key
            .as_ref()
            .map_or(DEVELOPMENT_KEY, ExposeSecret::expose_secret)
            .as_bytes()
    }
}

fn secret_key(from: &Variables, environment: Environment) -> Result<Option<Secret>, SettingError> {
    let key = from.secret("SECRET_KEY");
    let problem = match &key {
        None if environment == Environment::Development => return Ok(None),
        None => "is missing",
        Some(key) => match weakness(key, environment) {
            None => return Ok(Some(key.clone())),
            Some(weakness) => weakness,
        },
    };
    Err(wrong(
        "SECRET_KEY",
        format!("{problem}; make one with `cura-admin secret`"),
    ))
}

fn previous_secret_key(from: &Variables, environment: Environment) -> Result<Option<Secret>, SettingError> {
    let key = from.secret("SECRET_KEY_PREVIOUS");
    match key.as_ref().and_then(|key| weakness(key, environment)) {
        None => Ok(key),
        Some(weakness) => Err(wrong(
            "SECRET_KEY_PREVIOUS",
            format!("{weakness}; remove it: users whose tokens it signed sign in again"),
        )),
    }
}

/// Why nothing may be signed with this key.
fn weakness(key: &Secret, environment: Environment) -> Option<&'static str> {
    match key.expose_secret() {
        key if key.len() < MIN_KEY_BYTES => Some("is shorter than 32 bytes"),
        DEVELOPMENT_KEY if environment != Environment::Development => Some("is the development key"),
        _ => None,
    }
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

    #[test]
    fn the_previous_key_is_as_strong_as_the_current_one_or_not_there() {
        let read = |previous| {
            let variables = [("SECRET_KEY", &*"k".repeat(32)), ("SECRET_KEY_PREVIOUS", previous)];
            SecuritySettings::read(&Variables::from(&variables[..]), Environment::Production)
        };
        assert_eq!(read("").unwrap().secret_keys().previous, None);
        let strong = "p".repeat(32);
        assert_eq!(read(&strong).unwrap().secret_keys().previous, Some(strong.as_bytes()));
        for bad in [DEVELOPMENT_KEY, "k3y-of-9-b"] {
            let error = read(bad).unwrap_err().to_string();
            assert!(
                error.starts_with("SECRET_KEY_PREVIOUS is") && !error.contains(bad),
                "{error}"
            );
        }
    }
}
