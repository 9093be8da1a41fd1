//! Postgres, Redis and the AI providers: connected as the settings say, and waited for at the start.

use std::time::Duration;

use cura_live::{Live, LiveConfig, RateLimiter};
use cura_postgres::{Problem, Refusal, Url};
use cura_providers::ai::{Ai, AiError, Failure};
use cura_store::Database;
use tokio::time::Instant;

use crate::migrations;
use crate::program::StartError;
use crate::settings::{SettingError, Settings, wrong};

/// The pause between two checks of a missing dependency.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// The configured database; connects when it is first used.
///
/// # Errors
/// When `DATABASE_URL` is missing, or it or `DATABASE_DIRECT_URL` is wrong.
pub fn database(settings: &Settings, program: &str) -> Result<Database, StartError> {
    let of = &settings.database;
    let url = postgres_url("DATABASE_URL", of.url()?)?;
    let database = match of.direct_url() {
        None => Database::connect_lazy(url, program, of.pool_size),
        Some(direct) => {
            let direct = postgres_url("DATABASE_DIRECT_URL", direct)?;
            Database::behind_pooler(url, direct, program, of.pool_size)
        }
    };
    Ok(database.map_err(|_| no_postgres_url("DATABASE_URL"))?)
}

/// The configured database, for changing the schema.
///
/// # Errors
/// When `DATABASE_URL` is missing, or it or `DATABASE_DIRECT_URL` is wrong.
pub fn database_for_migrations(settings: &Settings, program: &str) -> Result<Database, StartError> {
    let (name, url) = settings.database.session_url()?;
    let database = Database::connect_for_migrations(postgres_url(name, url)?, program);
    Ok(database.map_err(|_| no_postgres_url(name))?)
}

/// `url`, if it can name a Postgres.
pub(super) fn postgres_url<'url>(name: &'static str, url: &'url str) -> Result<&'url str, SettingError> {
    let (scheme, behind_scheme) = url.split_once("://").unwrap_or_default();
    if !["postgres", "postgresql"].contains(&scheme) {
        return Err(wrong(
            name,
            "is not a Postgres URL; it must begin with postgres:// or postgresql://",
        ));
    }
    let authority = behind_scheme.split(['/', '?']).next().unwrap_or_default();
    let hosts = authority.rsplit('@').next().unwrap_or_default();
    if hosts.contains(',') {
        let rule = "names several hosts; name one that leads to the primary: a virtual address, HAProxy or a pooler";
        return Err(wrong(name, rule));
    }
    match cura_postgres::connect_options(url, "") {
        Ok(_) => Ok(url),
        Err(_) => Err(no_postgres_url(name)),
    }
}

fn no_postgres_url(name: &'static str) -> SettingError {
    let rule = "is not a Postgres URL (postgres://user:password@host/database)";
    wrong(name, rule)
}

/// The texts of running answers, and signals, on the configured Redis.
///
/// # Errors
/// When `REDIS_URL` is missing or wrong.
pub fn redis_live(settings: &Settings) -> Result<Live, SettingError> {
    Live::redis(settings.redis.url()?, LiveConfig::default()).map_err(|_| no_redis_url())
}

/// No texts and no signals, for a command where there is no Redis.
pub fn no_live() -> Live {
    Live::in_process(LiveConfig::default())
}

/// Rate limits counted on the configured Redis.
///
/// # Errors
/// When `REDIS_URL` is missing or wrong.
pub fn redis_limiter(settings: &Settings) -> Result<RateLimiter, SettingError> {
    RateLimiter::redis(settings.redis.url()?, LiveConfig::default()).map_err(|_| no_redis_url())
}

pub(super) fn no_redis_url() -> SettingError {
    let rule = "is not a Redis URL (redis://host:6379, redis-cluster://host:6379,host:6379, \
                redis-sentinel://host:26379,host:26379/mymaster)";
    wrong("REDIS_URL", rule)
}

/// The configured AI providers, the fallback behind the first; the demo if none is configured.
///
/// # Errors
/// When a client cannot be built from the settings.
pub fn ai(settings: &Settings) -> Result<Ai, SettingError> {
    let mut providers = ai_providers(settings);
    let first = providers.next().unwrap_or_else(|| Ok(Ai::demo()))?;
    providers.try_fold(first, |ai, fallback| {
        fallback.map(|fallback| ai.with_fallback(fallback))
    })
}

/// Each of the configured AI providers, in the order in which they are tried.
pub fn ai_providers(settings: &Settings) -> impl Iterator<Item = Result<Ai, SettingError>> {
    let named = ["AI_MODEL_URL", "AI_FALLBACK_URL"]
        .into_iter()
        .zip(&settings.ai.providers);
    named.map(|(name, provider)| {
        let connected = provider.connect().map(|ai| ai.with_vision(settings.ai.vision));
        connected.map_err(|error| wrong(name, format!("or its companions cannot be used: {}", cause(&error))))
    })
}

/// What is wrong with the settings of a provider.
fn cause(error: &AiError) -> String {
    match error.failure() {
        Failure::Misconfigured(what) => (*what).to_owned(),
        failure => failure.to_string(),
    }
}

/// Waits until the database can be used; at most `wait`.
///
/// # Errors
/// Why it cannot.
pub async fn reach_database(database: &Database, wait: Duration) -> Result<(), Problem> {
    let until = Instant::now() + wait;
    let mut said = None;
    while let Err(problem) = database.check().await {
        let is_final = problem.refusal.is_final();
        // A pooler whose Postgres is away refuses at one time and is silent at another: silence explains less.
        if said.is_none() || problem.refusal != Refusal::Silent {
            said = Some(problem);
        }
        if let Some(problem) = said.take_if(|_| is_final || Instant::now() >= until) {
            return Err(problem);
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
    Ok(())
}

/// [`reach_database`] for a program that cannot start without it; `main` is the setting that names it.
///
/// # Errors
/// When it cannot be used: the setting, the cause and the cure.
pub async fn wait_for_database(database: &Database, main: &'static str, wait: Duration) -> Result<(), StartError> {
    let reached = reach_database(database, wait).await;
    reached.map_err(|problem| {
        let setting = match problem.url {
            Url::Main => main,
            Url::Direct => "DATABASE_DIRECT_URL",
        };
        wrong(setting, problem.refusal.to_string()).into()
    })
}

/// Waits until the database can be used and has every migration, and Redis does what is needed; at most `wait`.
///
/// # Errors
/// The dependency that is still missing, and the cure.
pub async fn wait_for_dependencies(database: &Database, live: &Live, wait: Duration) -> Result<(), StartError> {
    let until = Instant::now() + wait;
    wait_for_database(database, "DATABASE_URL", wait).await?;
    refuse_if_being_restored(database).await?;
    loop {
        let Err(missing) = check(database, live).await else {
            return Ok(());
        };
        if Instant::now() >= until {
            return Err(missing);
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Refuses a database in which a restore has not ended, at once: the restore waits until nobody is connected.
///
/// # Errors
/// When one has not, or Postgres does not say.
pub async fn refuse_if_being_restored(database: &Database) -> Result<(), StartError> {
    let asked = migrations::is_being_restored(database.pool());
    let other = |text: &str| Err(StartError::Other(text.to_owned()));
    match tokio::time::timeout(Duration::from_secs(2), asked).await {
        Ok(Ok(false)) => Ok(()),
        Ok(Ok(true)) => other("a restore of the database has not ended; run `cura-admin restore` again"),
        Ok(Err(_)) | Err(_) => other("Postgres does not say whether a restore of the database has ended"),
    }
}

async fn check(database: &Database, live: &Live) -> Result<(), StartError> {
    let other = |text: &str| StartError::Other(text.to_owned());
    match tokio::time::timeout(Duration::from_secs(2), migrations::pending(database.pool())).await {
        Ok(Ok(0)) => {}
        Ok(Ok(_)) => return Err(other("the database lacks migrations; run `cura-admin migrate up`")),
        Ok(Err(_)) | Err(_) => {
            let problem =
                "names a Postgres that does not say which migrations it has; grant this user to read all tables";
            return Err(wrong("DATABASE_URL", problem).into());
        }
    }
    let checked = live.check().await;
    checked.map_err(|trouble| wrong("REDIS_URL", format!("names a Redis {trouble}")).into())
}
