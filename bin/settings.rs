//! Settings: from the environment, else from `.env`, else their defaults. `.env.example` lists and explains them all, and
//! each of its sections is a file here.
//!
//! Settings that cannot be used stop the program with one line each, which names the setting and the cure, never its value.

mod ai;
mod assistant;
mod backups;
mod care;
mod catalogue;
mod database;
mod files;
mod limits;
mod process;
mod push;
mod redis;
mod security;
mod server;
mod telemetry;
mod variables;
mod workers;

pub use ai::{AiSettings, ProviderSettings};
pub use assistant::AssistantSettings;
pub use backups::{BackupScheduleSettings, BackupSettings};
pub use care::CareSettings;
pub use catalogue::{ShownSetting, Source, UnknownSetting};
pub use database::DatabaseSettings;
pub use files::{FileDelivery, FileSettings, StoreSettings};
pub use limits::LimitSettings;
pub use process::{Environment, ProcessSettings};
pub use push::PushSettings;
pub use redis::RedisSettings;
pub use security::SecuritySettings;
pub use server::ServerSettings;
pub use telemetry::TelemetrySettings;
pub(crate) use variables::wrong;
pub use variables::{SettingError, SettingErrors};
pub use workers::WorkerSettings;

use variables::Variables;

/// Every setting, by section.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each section says what it holds")]
pub struct Settings {
    pub process: ProcessSettings,
    pub server: ServerSettings,
    pub database: DatabaseSettings,
    pub redis: RedisSettings,
    pub security: SecuritySettings,
    pub limits: LimitSettings,
    pub care: CareSettings,
    pub ai: AiSettings,
    pub assistant: AssistantSettings,
    pub push: PushSettings,
    pub files: FileSettings,
    pub workers: WorkerSettings,
    pub backups: BackupSettings,
    pub telemetry: TelemetrySettings,
}

impl Settings {
    /// Reads the environment and `.env` in the working folder.
    ///
    /// # Errors
    /// Every setting that cannot be used.
    pub fn from_environment() -> Result<Self, SettingErrors> {
        Self::checked(|_| Vec::new())
    }

    /// Reads the environment and `.env` in the working folder, for a program to which `check` says what else is wrong.
    ///
    /// # Errors
    /// Every setting that cannot be used.
    pub fn checked(check: impl FnOnce(&Self) -> Vec<SettingError>) -> Result<Self, SettingErrors> {
        Self::read(&Variables::from_environment()?, check)
    }

    /// Every setting with its value or a mask, and where it comes from; and the names that look like ours and are not.
    ///
    /// # Errors
    /// When `.env` cannot be read.
    pub fn shown() -> Result<(Vec<ShownSetting>, Vec<UnknownSetting>), SettingErrors> {
        let from = Variables::from_environment()?;
        Ok((from.shown(), from.unknown()))
    }

    fn read(from: &Variables, check: impl FnOnce(&Self) -> Vec<SettingError>) -> Result<Self, SettingErrors> {
        let process = ProcessSettings::read(from);
        let environment = process.environment;
        let ai = AiSettings::read(from, environment);
        let assistant = AssistantSettings::read(from);
        let settings = Self {
            process,
            server: ServerSettings::read(from, environment),
            database: DatabaseSettings::read(from),
            redis: RedisSettings::read(from),
            security: SecuritySettings::read(from, environment),
            limits: LimitSettings::read(from, ai.max_output_tokens, assistant.context_tokens),
            care: CareSettings::read(from),
            ai,
            assistant,
            push: PushSettings::read(from),
            files: FileSettings::read(from),
            workers: WorkerSettings::read(from),
            backups: BackupSettings::read(from),
            telemetry: TelemetrySettings::read(from),
        };
        let mut faults = from.take_faults();
        faults.extend(check(&settings));
        SettingErrors::of(faults).map_or(Ok(settings), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, SettingErrors> {
        Settings::read(&Variables::from(variables), |_| Vec::new())
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
        assert_eq!(settings.process.environment, Environment::Development);
        assert_eq!(settings.server.port, 8000);
        assert!(settings.ai.providers.is_empty());
    }

    #[test]
    fn production_starts_with_what_it_needs() {
        assert!(read(&PRODUCTION).is_ok());
    }

    #[test]
    fn every_setting_is_explained_and_reaches_the_containers() {
        // With both providers, so that every setting of theirs is read.
        let given = ["AI_MODEL_URL", "AI_FALLBACK_URL"].map(|name| (name, "http://127.0.0.1:1"));
        let variables = Variables::from(&given[..]);
        Settings::read(&variables, |_| Vec::new()).unwrap();
        let listed = |text: &str, sign: char| -> BTreeSet<String> {
            let names = text.lines().filter_map(|line| line.trim().split_once(sign));
            let is_name = |name: &&str| name.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'0'..=b'9' | b'_'));
            names.map(|(name, _)| name).filter(is_name).map(str::to_owned).collect()
        };
        let mut known: BTreeSet<String> = variables.read_names().into_iter().collect();
        // `cura-devdb` reads this one.
        known.insert("CURA_PG_BIN".to_owned());
        assert_eq!(listed(include_str!("../.env.example"), '='), known);
        // Containers have a fixed data folder, and containers of their own for Postgres and Redis. Operators name themselves.
        let elsewhere = [
            "CURA_OPERATOR",
            "DATA_DIR",
            "CURA_PG_BIN",
            "DATABASE_URL_FILE",
            "REDIS_URL_FILE",
        ]
        .map(str::to_owned);
        let compose = listed(include_str!("../docker-compose.yml"), ':');
        let missing: Vec<_> = known
            .difference(&compose)
            .filter(|name| !elsewhere.contains(name))
            .collect();
        assert!(missing.is_empty(), "not in docker-compose.yml: {missing:?}");
    }

    #[test]
    fn the_documented_defaults_are_those_that_count() {
        let documented = catalogue::documented();
        let defaults: Vec<(&str, &str)> = documented
            .iter()
            .filter_map(|setting| Some((setting.name, setting.default?)))
            .collect();
        let written = read(&defaults).unwrap();
        assert_eq!(format!("{written:?}"), format!("{:?}", read(&[]).unwrap()));
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
    fn every_wrong_value_is_named_at_once_and_what_follows_from_it_is_not() {
        let wrong = [
            ("ENVIRONMENT", "production"),
            ("SECRET_KEY", "hunter2"),
            ("SECRET_KEY_PREVIOUS", "hunter2"),
            ("REDIS_URL", "redis://hunter2"),
            ("REDIS_URL_FILE", "/nowhere/hunter2"),
            ("DATABASE_URL_FILE", "/nowhere/hunter2"),
            ("PORT", "hunter2"),
            ("ALLOWED_ORIGINS", "hunter2"),
            ("AI_CONTINUATION", "hunter2"),
            ("AI_TITLES", "hunter2"),
            ("USER_DAILY_TOKENS", "hunter2"),
            ("WORKER_CONCURRENCY_GENERATE_ANSWER", "0"),
        ];
        let check = |settings: &Settings| settings.database.url().err().into_iter().collect();
        let errors = Settings::read(&Variables::from(&wrong[..]), check)
            .map(|_| ())
            .unwrap_err();
        let said = errors.to_string();
        let mut named: Vec<&str> = said.lines().map(|line| line.split(' ').next().unwrap()).collect();
        named.sort_unstable();
        let mut expected: Vec<&str> = wrong.iter().map(|(name, _)| *name).collect();
        expected.retain(|name| !["ENVIRONMENT", "REDIS_URL_FILE"].contains(name));
        expected.push("AI_MODEL_URL");
        expected.sort_unstable();
        assert_eq!(named, expected, "{said}");
        assert!(!said.contains("hunter2"), "{said}");
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
