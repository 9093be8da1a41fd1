//! Settings: from the environment, else from `.env`, else their defaults. `.env.example` lists and explains them all.
//!
//! A wrong setting is one line that names it and the cure, never its value.

mod ai;
mod variables;

use std::collections::HashMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use cura_api::{InvalidProxies, Rates, TrustedProxies};
use cura_app::budget::Allowance;
use cura_providers::Secret;
use secrecy::ExposeSecret;

pub use ai::ServiceSettings;
use variables::Variables;

/// The key of a Cura nobody has configured; refused in production.
const DEVELOPMENT_KEY: &str = "development-only-key-never-use-it-in-production";
/// What an answer is taken to cost before it is known, where nothing limits it.
const USUAL_ANSWER_TOKENS: u32 = 1000;
/// HS256 wants a key at least as long as its hash (RFC 7518, section 3.2).
const MIN_KEY_BYTES: usize = 32;

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{name} {problem}")]
pub struct SettingError {
    name: &'static str,
    problem: String,
}

/// Where Cura runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// On a developer's machine.
    Development,
    /// As in production, with less at stake.
    Staging,
    /// For people.
    Production,
}

/// Every setting.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `ENVIRONMENT`
    pub environment: Environment,
    /// `DATABASE_URL`
    pub database_url: Option<Secret>,
    /// `DATABASE_POOL_SIZE`
    pub database_pool_size: u32,
    /// `REDIS_URL`
    pub redis_url: Option<Secret>,
    /// `SECRET_KEY`; `None` outside production means the development key.
    pub secret_key: Option<Secret>,
    /// `ACCESS_TOKEN_EXPIRE_MINUTES`
    pub access_token_minutes: i64,
    /// `REFRESH_TOKEN_EXPIRE_DAYS`
    pub refresh_token_days: i64,
    /// `PASSWORD_HASH_MEMORY_KIB`
    pub password_hash_memory_kib: u32,
    /// `PASSWORD_HASH_PASSES`
    pub password_hash_passes: u32,
    /// `AI_*`: who answers, in the order in which they are asked; nobody means the demo voice.
    pub ai: Vec<ServiceSettings>,
    /// `AI_CONTEXT_TOKENS`
    pub context_tokens: usize,
    /// `AI_PERSONA_FILE`
    pub persona_file: Option<PathBuf>,
    /// `AI_TITLES`
    pub titles: bool,
    /// `USER_DAILY_TOKENS`, `USER_RUNNING_ANSWERS`
    pub allowance: Allowance,
    /// `CARE_RULES_FILE`
    pub care_rules_file: Option<PathBuf>,
    /// `ALLOWED_ORIGINS`
    pub allowed_origins: Vec<String>,
    /// `RATE_LIMIT_*`
    pub rates: Rates,
    /// `TRUSTED_PROXIES`
    pub trusted_proxies: TrustedProxies,
    /// `SENTRY_DSN`
    pub sentry_dsn: Option<Secret>,
    /// `HOST`
    pub host: String,
    /// `PORT`
    pub port: u16,
    /// `DATA_DIR`
    pub data_dir: PathBuf,
    /// `WORKER_CONCURRENCY_GENERATE_ANSWER`
    pub generate_answer_concurrency: usize,
    /// `SHUTDOWN_GRACE_SECONDS`
    pub shutdown_grace: Duration,
    /// `LOG_LEVEL`
    pub log_level: String,
}

impl Settings {
    /// Reads the environment and `.env` in the working folder.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn from_environment() -> Result<Self, SettingError> {
        let mut variables: HashMap<String, String> = HashMap::new();
        match dotenvy::from_filename_iter(".env") {
            Ok(lines) => {
                for line in lines {
                    let (name, value) = line.map_err(|_| wrong(".env", "has a line that is not NAME=value"))?;
                    variables.insert(name, value);
                }
            }
            Err(error) if error.not_found() => {}
            Err(_) => return Err(wrong(".env", "cannot be read; check its permissions")),
        }
        variables.extend(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        );
        Self::read(&Variables::from(variables))
    }

    fn read(from: &Variables) -> Result<Self, SettingError> {
        let environment = from.parsed("ENVIRONMENT", Environment::Development)?;
        let settings = Self {
            environment,
            database_url: from.secret("DATABASE_URL"),
            database_pool_size: from.within("DATABASE_POOL_SIZE", 10, 2..=500)?,
            redis_url: from.secret("REDIS_URL"),
            secret_key: from.secret("SECRET_KEY"),
            access_token_minutes: from.within("ACCESS_TOKEN_EXPIRE_MINUTES", 30, 1..=24 * 60)?,
            refresh_token_days: from.within("REFRESH_TOKEN_EXPIRE_DAYS", 7, 1..=365)?,
            password_hash_memory_kib: from.within("PASSWORD_HASH_MEMORY_KIB", 19_456, 8..=1_048_576)?,
            password_hash_passes: from.within("PASSWORD_HASH_PASSES", 2, 1..=20)?,
            ai: ai::read(from)?,
            context_tokens: from.within("AI_CONTEXT_TOKENS", 16_000, 500..=10_000_000)?,
            persona_file: from.text("AI_PERSONA_FILE").map(PathBuf::from),
            titles: from.parsed("AI_TITLES", true)?,
            allowance: Allowance {
                daily_tokens: from.parsed("USER_DAILY_TOKENS", 0)?,
                // As many as may be asked for in a minute.
                running_answers: from.parsed("USER_RUNNING_ANSWERS", from.parsed("RATE_LIMIT_CHAT", 30)?)?,
                answer_tokens: from.parsed("AI_MAX_OUTPUT_TOKENS", USUAL_ANSWER_TOKENS)?,
            },
            care_rules_file: from.text("CARE_RULES_FILE").map(PathBuf::from),
            allowed_origins: origins(from, environment)?,
            rates: Rates {
                auth: from.parsed("RATE_LIMIT_AUTH", 5)?,
                chat: from.parsed("RATE_LIMIT_CHAT", 30)?,
                upload: from.parsed("RATE_LIMIT_UPLOAD", 10)?,
                default: from.parsed("RATE_LIMIT_DEFAULT", 100)?,
            },
            trusted_proxies: from
                .text("TRUSTED_PROXIES")
                .unwrap_or_default()
                .parse()
                .map_err(|error: InvalidProxies| wrong("TRUSTED_PROXIES", error.to_string()))?,
            sentry_dsn: from.secret("SENTRY_DSN"),
            host: from.text("HOST").unwrap_or("127.0.0.1").to_owned(),
            port: from.parsed("PORT", 8000)?,
            data_dir: from
                .text("DATA_DIR")
                .map_or_else(cura_devdb::default_data_root, PathBuf::from),
            generate_answer_concurrency: from.within("WORKER_CONCURRENCY_GENERATE_ANSWER", 256, 1..=10_000)?,
            shutdown_grace: Duration::from_secs(from.within("SHUTDOWN_GRACE_SECONDS", 20, 0..=600)?),
            log_level: from
                .text("LOG_LEVEL")
                .unwrap_or("info,sqlx=warn,apalis=warn,apalis_core=warn")
                .to_owned(),
        };
        if from.text("ALGORITHM").is_some_and(|algorithm| algorithm != "HS256") {
            return Err(wrong("ALGORITHM", "must be HS256, the only one there is"));
        }
        settings.check()?;
        Ok(settings)
    }

    /// What must be right anywhere, in staging too, and in production.
    fn check(&self) -> Result<(), SettingError> {
        if let Some(key) = &self.secret_key
            && key.expose_secret().len() < MIN_KEY_BYTES
        {
            return Err(wrong(
                "SECRET_KEY",
                "is shorter than 32 bytes; make one with `cura-admin secret`",
            ));
        }
        if self.environment == Environment::Development {
            return Ok(());
        }
        match &self.secret_key {
            None => return Err(wrong("SECRET_KEY", "is missing; make one with `cura-admin secret`")),
            Some(key) if key.expose_secret() == DEVELOPMENT_KEY => {
                return Err(wrong(
                    "SECRET_KEY",
                    "is the development key; make one with `cura-admin secret`",
                ));
            }
            Some(_) => {}
        }
        if self.environment == Environment::Staging {
            return Ok(());
        }
        if self.allowed_origins.iter().any(|origin| origin == "*") {
            return Err(wrong(
                "ALLOWED_ORIGINS",
                "must not contain \"*\" in production; list the origins of your pages",
            ));
        }
        if self.ai.is_empty() {
            return Err(wrong(
                "AI_MODEL_URL",
                "is missing; in production the demo must not answer, so name the AI service",
            ));
        }
        Ok(())
    }

    /// `DATABASE_URL`, where Cura cannot do without.
    ///
    /// # Errors
    /// When it is missing.
    pub fn database_url(&self) -> Result<&str, SettingError> {
        self.database_url
            .as_ref()
            .map(ExposeSecret::expose_secret)
            .ok_or_else(|| {
                wrong(
                    "DATABASE_URL",
                    "is missing; name a Postgres (postgres://user:password@host/database)",
                )
            })
    }

    /// `REDIS_URL`, where Cura cannot do without.
    ///
    /// # Errors
    /// When it is missing.
    pub fn redis_url(&self) -> Result<&str, SettingError> {
        self.redis_url.as_ref().map(ExposeSecret::expose_secret).ok_or_else(|| {
            wrong(
                "REDIS_URL",
                "is missing; servers and workers meet there (redis://host:6379), only `cura-server dev` can do without",
            )
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

/// A setting and what is wrong with it.
pub(crate) fn wrong(name: &'static str, problem: impl Into<String>) -> SettingError {
    SettingError {
        name,
        problem: problem.into(),
    }
}

impl FromStr for Environment {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "development" => Ok(Self::Development),
            "staging" => Ok(Self::Staging),
            "production" => Ok(Self::Production),
            _ => Err("it is one of development, staging, production"),
        }
    }
}

impl Environment {
    /// The word in `ENVIRONMENT`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }
}

fn origins(from: &Variables, environment: Environment) -> Result<Vec<String>, SettingError> {
    match from.text("ALLOWED_ORIGINS") {
        None if environment == Environment::Development => Ok([
            "http://localhost:3000",
            "http://localhost:5173",
            "capacitor://localhost",
        ]
        .map(str::to_owned)
        .into()),
        None => Ok(Vec::new()),
        Some(list) => serde_json::from_str(list).map_err(|_| {
            wrong(
                "ALLOWED_ORIGINS",
                "must be a JSON list of origins: [\"https://app.example\"]",
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, SettingError> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Settings::read(&Variables::from(variables.iter().map(own).collect::<HashMap<_, _>>()))
    }

    const PRODUCTION: [(&str, &str); 5] = [
        ("ENVIRONMENT", "production"),
        ("SECRET_KEY", "0123456789abcdef0123456789abcdef"),
        ("AI_MODEL_URL", "https://ai.example"),
        ("DATABASE_URL", "postgres://db/cura"),
        ("REDIS_URL", "redis://cache"),
    ];

    fn production_with(name: &'static str, value: &'static str) -> String {
        let mut variables = PRODUCTION.to_vec();
        variables.push((name, value));
        read(&variables).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn nothing_needs_to_be_set_for_development() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.environment, Environment::Development);
        assert_eq!(settings.port, 8000);
        assert!(settings.ai.is_empty());
    }

    #[test]
    fn production_starts_with_what_it_needs() {
        assert!(read(&PRODUCTION).is_ok());
    }

    #[test]
    fn every_setting_is_explained_and_reaches_the_containers() {
        // With everybody who can be asked, so that everything about them is read.
        let given = ["AI_MODEL_URL", "AI_FALLBACK_URL"].map(|name| (name.to_owned(), "http://127.0.0.1:1".to_owned()));
        let variables = Variables::from(HashMap::from(given));
        Settings::read(&variables).unwrap();
        let listed = |text: &str, sign: char| -> BTreeSet<String> {
            let names = text.lines().filter_map(|line| line.trim().split_once(sign));
            let is_name = |name: &&str| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
            names.map(|(name, _)| name).filter(is_name).map(str::to_owned).collect()
        };
        let mut known: BTreeSet<String> = variables.asked().into_iter().collect();
        // The private Postgres looks for this one itself.
        known.insert("CURA_PG_BIN".to_owned());
        assert_eq!(listed(include_str!("../.env.example"), '='), known);
        // Containers have their own place for data and their own Postgres.
        let elsewhere = ["DATA_DIR", "CURA_PG_BIN"].map(str::to_owned);
        let compose = listed(include_str!("../docker-compose.yml"), ':');
        let missing: Vec<_> = known
            .difference(&compose)
            .filter(|name| !elsewhere.contains(name))
            .collect();
        assert!(missing.is_empty(), "not in docker-compose.yml: {missing:?}");
    }

    #[test]
    fn production_and_staging_refuse_a_missing_default_or_short_key() {
        let staging = read(&[("ENVIRONMENT", "staging")]).map(|_| ()).unwrap_err().to_string();
        assert!(staging.starts_with("SECRET_KEY is missing"), "{staging}");
        for bad in ["", DEVELOPMENT_KEY, "k3y-of-9-b"] {
            let error = production_with("SECRET_KEY", bad);
            assert!(
                error.starts_with("SECRET_KEY is") && error.contains("cura-admin secret"),
                "{error}"
            );
            assert!(bad.is_empty() || !error.contains(bad), "the value is shown: {error}");
        }
    }

    #[test]
    fn production_refuses_a_wildcard_origin_and_the_demo() {
        assert!(production_with("ALLOWED_ORIGINS", r#"["*"]"#).starts_with("ALLOWED_ORIGINS"));
        assert!(production_with("AI_MODEL_URL", "").starts_with("AI_MODEL_URL"));
    }

    #[test]
    fn a_wrong_value_names_its_setting_and_is_not_repeated() {
        for (name, value) in [
            ("PORT", "eighty"),
            ("ENVIRONMENT", "prod"),
            ("ALLOWED_ORIGINS", "https://a.example"),
            ("AI_MODEL_PROVIDER", "oracle"),
            ("DATABASE_POOL_SIZE", "1"),
            ("ALGORITHM", "none"),
            ("RATE_LIMIT_CHAT", "-1"),
            ("TRUSTED_PROXIES", "the load balancer"),
        ] {
            let error = read(&[(name, value)]).map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_shown_by_debug() {
        let settings = read(&PRODUCTION).unwrap();
        let shown = format!("{settings:?}");
        assert!(
            !shown.contains("0123456789abcdef") && !shown.contains("postgres://"),
            "{shown}"
        );
    }
}
