//! Postgres, Redis and the AI providers: connected as the settings say, and waited for at the start.

use std::time::Duration;

use cura_live::{Live, LiveConfig, RateLimiter};
use cura_providers::ai::{Ai, AiError, Failure};
use cura_store::Database;
use tokio::time::Instant;

use crate::migrations;
use crate::program::StartError;
use crate::settings::{Settings, wrong};

/// The pause between two checks of a missing dependency.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// The configured database; connects when it is first used.
///
/// # Errors
/// When `DATABASE_URL` is missing or wrong.
pub fn database(settings: &Settings, program: &str) -> Result<Database, StartError> {
    Database::connect_lazy(settings.database.url()?, program, settings.database.pool_size)
        .map_err(|_| no_postgres_url())
}

/// The configured database, for changing the schema.
///
/// # Errors
/// When `DATABASE_URL` is missing or wrong.
pub fn database_for_migrations(settings: &Settings, program: &str) -> Result<Database, StartError> {
    Database::connect_for_migrations(settings.database.url()?, program).map_err(|_| no_postgres_url())
}

fn no_postgres_url() -> StartError {
    let rule = "is not a Postgres URL (postgres://user:password@host/database)";
    wrong("DATABASE_URL", rule).into()
}

/// The texts of running answers, and signals, on the configured Redis.
///
/// # Errors
/// When `REDIS_URL` is missing or wrong.
pub fn redis_live(settings: &Settings) -> Result<Live, StartError> {
    Live::redis(settings.redis.url()?, LiveConfig::default())
        .map_err(|_| wrong("REDIS_URL", "is not a Redis URL (redis://host:6379)").into())
}

/// Rate limits counted on the configured Redis.
///
/// # Errors
/// When `REDIS_URL` is missing or wrong.
pub fn redis_limiter(settings: &Settings) -> Result<RateLimiter, StartError> {
    RateLimiter::redis(settings.redis.url()?, LiveConfig::default())
        .map_err(|_| wrong("REDIS_URL", "is not a Redis URL (redis://host:6379)").into())
}

/// The configured AI providers, the fallback behind the first; the demo if none is configured.
///
/// # Errors
/// When a client cannot be built from the settings.
pub fn ai(settings: &Settings) -> Result<Ai, StartError> {
    let named = ["AI_MODEL_URL", "AI_FALLBACK_URL"]
        .into_iter()
        .zip(&settings.ai.providers);
    let mut providers = named.map(|(name, provider)| {
        let connected = provider.connect();
        connected.map_err(|error| wrong(name, format!("or its companions cannot be used: {}", cause(&error))))
    });
    let first = providers.next().unwrap_or_else(|| Ok(Ai::demo()))?;
    Ok(providers.try_fold(first, |ai, fallback| {
        fallback.map(|fallback| ai.with_fallback(fallback))
    })?)
}

/// What is wrong with the settings of a provider.
fn cause(error: &AiError) -> String {
    match error.failure() {
        Failure::Misconfigured(what) => (*what).to_owned(),
        failure => failure.to_string(),
    }
}

/// Waits until Postgres answers; at most `wait`.
///
/// # Errors
/// When it does not.
pub async fn wait_for_database(database: &Database, wait: Duration) -> Result<(), StartError> {
    let until = Instant::now() + wait;
    while database.ping().await.is_err() {
        if Instant::now() >= until {
            return Err(no_database());
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
    Ok(())
}

fn no_database() -> StartError {
    wrong(
        "DATABASE_URL",
        "names a Postgres that does not let us in; start it, or correct the URL",
    )
    .into()
}

/// Waits until Postgres answers, has every migration, and `live` answers; at most `wait`.
///
/// # Errors
/// The dependency that is still missing, and the cure.
pub async fn wait_for_dependencies(database: &Database, live: &Live, wait: Duration) -> Result<(), StartError> {
    let until = Instant::now() + wait;
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

async fn check(database: &Database, live: &Live) -> Result<(), StartError> {
    let other = |text: &str| StartError::Other(text.to_owned());
    match tokio::time::timeout(Duration::from_secs(2), migrations::pending(database.pool())).await {
        Ok(Ok(0)) => {}
        Ok(Ok(_)) => return Err(other("the database lacks migrations; run `cura-admin migrate up`")),
        Ok(Err(_)) | Err(_) => return Err(no_database()),
    }
    live.ping().await.map_err(|_| {
        wrong(
            "REDIS_URL",
            "names a Redis that does not answer; start it, or correct the URL",
        )
        .into()
    })
}
