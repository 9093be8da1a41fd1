//! Tokens and passwords.

use chrono::TimeDelta;
use cura_app::SecretKeys;
use cura_app::auth_tokens::TokenLifetimes;
use cura_app::passwords::HashCost;
use cura_providers::Secret;
use secrecy::ExposeSecret;

use super::process::Environment;
use super::variables::Variables;

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
    pub(super) fn read(from: &Variables, environment: Environment) -> Self {
        if from.text("ALGORITHM").is_some_and(|algorithm| algorithm != "HS256") {
            from.fault("ALGORITHM", "must be HS256, the only one there is");
        }
        let access_minutes = from.within("ACCESS_TOKEN_EXPIRE_MINUTES", 30, 1..=24 * 60);
        let refresh_days = from.within("REFRESH_TOKEN_EXPIRE_DAYS", 7, 1..=365);
        let session_days = from.within("SESSION_MAX_DAYS", 90, 1..=3650);
        Self {
            secret_key: secret_key(from, environment),
            previous_secret_key: previous_secret_key(from, environment),
            token_lifetimes: TokenLifetimes {
                access: TimeDelta::minutes(access_minutes),
                refresh: TimeDelta::days(refresh_days),
                session: TimeDelta::days(session_days),
            },
            password_hash: HashCost {
                memory_kib: from.within("PASSWORD_HASH_MEMORY_KIB", 19_456, 8..=1_048_576),
                passes: from.within("PASSWORD_HASH_PASSES", 2, 1..=20),
            },
        }
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

fn secret_key(from: &Variables, environment: Environment) -> Option<Secret> {
    let key = from.secret("SECRET_KEY");
    let problem = match &key {
        None if environment == Environment::Development => None,
        None => Some("is missing"),
        Some(key) => weakness(key, environment),
    };
    if let Some(problem) = problem {
        from.fault("SECRET_KEY", format!("{problem}; make one with `cura-admin secret`"));
    }
    key
}

fn previous_secret_key(from: &Variables, environment: Environment) -> Option<Secret> {
    let key = from.secret("SECRET_KEY_PREVIOUS");
    if let Some(weakness) = key.as_ref().and_then(|key| weakness(key, environment)) {
        let cure = "remove it: users whose tokens it signed sign in again";
        from.fault("SECRET_KEY_PREVIOUS", format!("{weakness}; {cure}"));
    }
    key
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

    fn read(variables: &[(&str, &str)], environment: Environment) -> (SecuritySettings, String) {
        let variables = Variables::from(variables);
        let settings = SecuritySettings::read(&variables, environment);
        let faults: Vec<_> = variables.take_faults().iter().map(ToString::to_string).collect();
        (settings, faults.join("\n"))
    }

    #[test]
    fn production_and_staging_refuse_a_missing_default_or_short_key() {
        for environment in [Environment::Staging, Environment::Production] {
            for bad in ["", DEVELOPMENT_KEY, "k3y-of-9-b"] {
                let (_, error) = read(&[("SECRET_KEY", bad)], environment);
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
            read(&variables, Environment::Production)
        };
        let (settings, error) = read("");
        assert_eq!((settings.secret_keys().previous, &*error), (None, ""));
        let strong = "p".repeat(32);
        let (settings, error) = read(&strong);
        assert_eq!(
            (settings.secret_keys().previous, &*error),
            (Some(strong.as_bytes()), "")
        );
        for bad in [DEVELOPMENT_KEY, "k3y-of-9-b"] {
            let (_, error) = read(bad);
            assert!(
                error.starts_with("SECRET_KEY_PREVIOUS is") && !error.contains(bad),
                "{error}"
            );
        }
    }
}
