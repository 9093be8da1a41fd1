//! Postgres, Redis and the AI providers: connected as the settings say, and waited for at the start.

use std::time::Duration;

use cura_live::{Live, LiveConfig, RateLimiter};
use cura_providers::ai::Ai;
use cura_store::Database;
use tokio::time::Instant;

use crate::migrations;
use crate::program::StartError;
use crate::settings::{Settings, wrong};

/// How often a missing dependency is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// The configured database.
///
/// # Errors
/// When `DATABASE_URL` is missing or wrong.
pub fn database(settings: &Settings, program: &str) -> Result<Database, StartError> {
    Database::connect_lazy(settings.database_url()?, program, settings.database_pool_size)
        .map_err(|_| no_postgres_url())
}

/// The configured database, for changing the schema.
///
/// # Errors
/// When `DATABASE_URL` is missing or wrong.
pub fn database_for_migrations(settings: &Settings, program: &str) -> Result<Database, StartError> {
    Database::connect_for_migrations(settings.database_url()?, program).map_err(|_| no_postgres_url())
}

fn no_postgres_url() -> StartError {
    let rule = "is not a Postgres URL (postgres://user:password@host/database)";
    wrong("DATABASE_URL", rule).into()
}

/// Running answers on the configured Redis.
///
/// # Errors
/// When `REDIS_URL` is missing or wrong.
pub fn redis_live(settings: &Settings) -> Result<Live, StartError> {
    Live::redis(settings.redis_url()?, LiveConfig::default())
        .map_err(|_| wrong("REDIS_URL", "is not a Redis URL (redis://host:6379)").into())
}

/// Rate limits counted on the configured Redis.
///
/// # Errors
/// When `REDIS_URL` is missing or wrong.
pub fn redis_limiter(settings: &Settings) -> Result<RateLimiter, StartError> {
    RateLimiter::redis(settings.redis_url()?, LiveConfig::default())
        .map_err(|_| wrong("REDIS_URL", "is not a Redis URL (redis://host:6379)").into())
}

/// The configured AI services.
///
/// # Errors
/// When one cannot work with these settings.
pub fn ai(settings: &Settings) -> Result<Ai, StartError> {
    let named = ["AI_MODEL_URL", "AI_FALLBACK_URL"].into_iter().zip(&settings.ai);
    let mut voices = named.map(|(name, service)| {
        let connected = service.connect();
        connected.map_err(|error| wrong(name, format!("or its companions cannot be used: {error}")))
    });
    let first = voices.next().unwrap_or_else(|| Ok(Ai::demo()))?;
    Ok(voices.try_fold(first, |ai, fallback| {
        fallback.map(|fallback| ai.with_fallback(fallback))
    })?)
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
        tokio::time::sleep(LOOK_AGAIN).await;
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
/// What is still missing then, and the cure.
pub async fn dependencies(database: &Database, live: &Live, wait: Duration) -> Result<(), StartError> {
    let until = Instant::now() + wait;
    loop {
        let Err(missing) = look(database, live).await else {
            return Ok(());
        };
        if Instant::now() >= until {
            return Err(missing);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn look(database: &Database, live: &Live) -> Result<(), StartError> {
    let other = |text: &str| StartError::Other(text.to_owned());
    match tokio::time::timeout(Duration::from_secs(2), migrations::pending(database.pool())).await {
        Ok(Ok(0)) => {}
        Ok(Ok(_)) => return Err(other("the database lacks migrations; run `cura-admin migrate up`")),
        Ok(Err(_)) | Err(_) => {
            return Err(no_database());
        }
    }
    live.ping().await.map_err(|_| {
        wrong(
            "REDIS_URL",
            "names a Redis that does not answer; start it, or correct the URL",
        )
        .into()
    })
}
