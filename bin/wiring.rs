//! Which implementation runs: the only place that knows.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use cura_api::{Closing, Limits, Origins};
use cura_app::health::AiProbe;
use cura_app::passwords::{HashCost, Passwords};
use cura_app::session_watch::SessionWatch;
use cura_app::tokens::{TokenLifetimes, Tokens};
use cura_app::{App, Parts};
use cura_domain::care::CareRules;
use cura_domain::prompt::PERSONA;
use cura_domain::{Clock, Entropy};
use cura_jobs::{Concurrency, Jobs, Manner};
use cura_live::{Limiter, Live, LiveConfig};
use cura_providers::ai::Ai;
use cura_queue::{Workers, WorkersConfig};
use cura_store::PgPool;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::migrations;
use crate::settings::{SettingError, Settings, wrong};

/// How often a missing dependency is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Why a program cannot start: one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// The time.
pub fn clock() -> Clock {
    #[expect(clippy::disallowed_methods, reason = "this is where the clock comes from")]
    Clock::new(chrono::Utc::now)
}

/// The operating system's randomness.
pub fn entropy() -> Entropy {
    Entropy::new(|buffer| {
        #[expect(clippy::disallowed_methods, reason = "this is where randomness comes from")]
        rand::Rng::fill_bytes(&mut rand::rng(), buffer);
    })
}

/// A pool on the configured database.
///
/// # Errors
/// When `DATABASE_URL` is missing or wrong.
pub fn pool(settings: &Settings, program: &str) -> Result<PgPool, StartError> {
    cura_store::pool::connect_lazy(settings.database_url()?, program, settings.database_pool_size)
        .map_err(|_| no_postgres_url())
}

/// A pool for changing the schema.
///
/// # Errors
/// When `DATABASE_URL` is missing or wrong.
pub fn pool_for_migrations(settings: &Settings, program: &str) -> Result<PgPool, StartError> {
    cura_store::pool::connect_for_migrations(settings.database_url()?, program).map_err(|_| no_postgres_url())
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
pub fn redis_limiter(settings: &Settings) -> Result<Limiter, StartError> {
    Limiter::redis(settings.redis_url()?, LiveConfig::default())
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
    Ok(voices.try_fold(first, |ai, fallback| fallback.map(|fallback| ai.or(fallback)))?)
}

/// Waits until Postgres answers; at most `wait`.
///
/// # Errors
/// When it does not.
pub async fn database(pool: &PgPool, wait: Duration) -> Result<(), StartError> {
    let until = Instant::now() + wait;
    while cura_store::in_time(cura_store::pool::ping(pool)).await.is_err() {
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
pub async fn dependencies(pool: &PgPool, live: &Live, wait: Duration) -> Result<(), StartError> {
    let until = Instant::now() + wait;
    loop {
        let Err(missing) = look(pool, live).await else {
            return Ok(());
        };
        if Instant::now() >= until {
            return Err(missing);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn look(pool: &PgPool, live: &Live) -> Result<(), StartError> {
    let other = |text: &str| StartError::Other(text.to_owned());
    match tokio::time::timeout(Duration::from_secs(2), migrations::pending(pool)).await {
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

/// Everything people can do.
///
/// # Errors
/// When the cost of a password hash cannot be used.
pub fn app(settings: &Settings, pool: PgPool, live: Live, ai: Ai) -> Result<App, StartError> {
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
        pool,
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
        None => Ok(CareRules::built_in()),
        Some(path) => CareRules::parse(&read_file("CARE_RULES_FILE", path)?)
            .map_err(|error| wrong("CARE_RULES_FILE", format!("cannot be used: {error}")).into()),
    }
}

/// How Cura speaks.
///
/// # Errors
/// When the operator's persona cannot be read.
pub fn manner(settings: &Settings) -> Result<Manner, StartError> {
    let persona = match &settings.persona_file {
        None => PERSONA.to_owned(),
        Some(path) => read_file("AI_PERSONA_FILE", path)?,
    };
    if persona.trim().is_empty() {
        return Err(wrong("AI_PERSONA_FILE", "is an empty file").into());
    }
    Ok(Manner {
        persona: persona.into(),
        context_tokens: settings.context_tokens,
        // A voice that says what it is has no titles to suggest.
        titles: settings.titles && !settings.ai.is_empty(),
        running_answers: settings.allowance.running_answers,
    })
}

fn read_file(name: &'static str, path: &Path) -> Result<String, StartError> {
    std::fs::read_to_string(path)
        .map_err(|error| wrong(name, format!("names a file that cannot be read: {error}")).into())
}

/// Running workers for the wanted queues.
///
/// # Errors
/// When the operator's persona cannot be read.
pub fn workers(
    settings: &Settings,
    pool: &PgPool,
    live: Live,
    ai: Ai,
    wanted: impl Fn(&str) -> bool,
) -> Result<Workers, StartError> {
    let jobs = Jobs::new(pool.clone(), live, ai, clock(), manner(settings)?);
    let concurrency = Concurrency {
        generate_answer: settings.generate_answer_concurrency,
    };
    let workers = jobs.register(Workers::builder(pool, WorkersConfig::default()), wanted, concurrency);
    Ok(workers.start())
}

/// A socket on the configured address.
///
/// # Errors
/// When it is taken or not ours to take.
pub async fn listen(settings: &Settings) -> Result<(TcpListener, SocketAddr), StartError> {
    let listener = TcpListener::bind((settings.host.as_str(), settings.port))
        .await
        .map_err(|error| {
            wrong(
                "PORT",
                format!("{} on {} cannot be used: {error}", settings.port, settings.host),
            )
        })?;
    let address = listener
        .local_addr()
        .map_err(|error| StartError::Other(error.to_string()))?;
    Ok((listener, address))
}

/// Serves until `stop`, then lets requests finish and sockets say goodbye, both within the configured grace.
pub async fn serve(settings: &Settings, listener: TcpListener, app: App, limiter: &Limiter, stop: CancellationToken) {
    if !app.care().is_reviewed() {
        tracing::warn!("what is shown to people in danger was not reviewed by professionals; see CARE_RULES_FILE");
    }
    let origins = Origins::new(&settings.allowed_origins);
    // Until the last stream has ended.
    let tasks = TaskTracker::new();
    let _watching = AbortOnDropHandle::new(tasks.spawn(app.clone().keep_watching_sessions()));
    let _looking = AbortOnDropHandle::new(tasks.spawn(app.clone().keep_looking_at_logs()));
    let limits = Limits::new(limiter, settings.rates, settings.trusted_proxies.clone());
    let closing = Closing::new(stop.clone());
    let api = cura_api::api(app, origins, limits, closing.clone());
    let grace = settings.shutdown_grace;
    let entropy = entropy();
    let serving = cura_api::serve(listener, api, &entropy, stop.clone(), grace);
    let until = async {
        stop.cancelled().await;
        Instant::now() + grace
    };
    let (cut, until) = tokio::join!(serving, until);
    // They have been saying goodbye since then; the last request may have opened one more.
    let _ = tokio::time::timeout_at(until, closing.sockets_closed()).await;
    tracing::info!(cut, "the server has stopped");
}
