//! `cura-server dev`: server, workers and a private Postgres with nothing to configure. Data and keys are kept in
//! `DATA_DIR`, so users stay signed in and browsers subscribed across restarts.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use cura_devdb::{PrivatePostgres, Profile};
use cura_live::{Live, LiveConfig, RateLimiter};
use cura_providers::Secret;
use cura_providers::push::{VapidKey, VapidSubject};
use cura_providers::scan::ScanHealth;
use secrecy::ExposeSecret;
use tokio_util::task::TaskTracker;

use super::secret;
use crate::program::{self, StartError};
use crate::settings::{ProviderSettings, Settings};
use crate::{migrations, stop_signals, wiring};

/// How long answers may finish when the process stops: there is no other worker that could continue them.
const FINISH_WITHIN: Duration = Duration::from_secs(10);

/// How long a Postgres that `DATABASE_URL` names may take to be there.
const FIND_WITHIN: Duration = Duration::from_secs(3);

/// Who is behind the pushes of a development server, for push services: nobody, since no mail reaches this domain.
const PUSH_SUBJECT: &str = "mailto:push@cura.invalid";

/// What the process owns while it runs; the operating system releases it, however the process ends.
struct Prepared {
    _lock: Option<File>,
    _postgres: Option<PrivatePostgres>,
}

/// Starts a private Postgres and makes keys, for access tokens and for browsers to subscribe, unless the settings name
/// them. Blocks; call before the runtime starts.
///
/// # Errors
/// When the private Postgres cannot be started, or the data folder cannot be written.
fn prepare(settings: &mut Settings) -> Result<Prepared, StartError> {
    let alone = settings
        .redis
        .url
        .is_none()
        .then(|| lock_data_dir(&settings.process.data_dir));
    let _lock = alone.transpose()?;
    if settings.security.secret_key.is_none() {
        settings.security.secret_key = Some(signing_key(&settings.process.data_dir)?);
    }
    if settings.push.vapid_key.is_none() {
        settings.push.vapid_key = Some(vapid_key(&settings.process.data_dir)?);
        if settings.push.vapid_subject.is_none() {
            settings.push.vapid_subject = VapidSubject::parse(PUSH_SUBJECT).ok();
        }
    }
    if settings.database.url.is_some() {
        return Ok(Prepared { _lock, _postgres: None });
    }
    let postgres = PrivatePostgres::start(&settings.process.data_dir, Profile::Durable, None)
        .map_err(|error| StartError::Other(error.to_string()))?;
    settings.database.url = Some(postgres.url("cura").into());
    Ok(Prepared {
        _lock,
        _postgres: Some(postgres),
    })
}

/// Locks the data folder: without Redis, two processes would not see each other's streams.
///
/// # Errors
/// When another process holds the lock.
fn lock_data_dir(data_dir: &Path) -> Result<File, StartError> {
    let path = data_dir.join("dev.lock");
    let failed = |error| StartError::Other(format!("{} cannot be used: {error}", path.display()));
    fs::create_dir_all(data_dir).map_err(failed)?;
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StartError::Other(format!(
            "another `cura-server dev` uses {}; stop it, choose another DATA_DIR, or set REDIS_URL, which lets them share it",
            data_dir.display()
        ))),
        Err(fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// The signing key in the data folder, made if there is none.
fn signing_key(data_dir: &Path) -> Result<Secret, StartError> {
    let read = |key: &str| (key.len() >= 32).then(|| Secret::from(key));
    kept_key(data_dir, "secret_key", read, || secret::generate().into())
}

/// The key for which browsers subscribe in the data folder, made if there is none.
fn vapid_key(data_dir: &Path) -> Result<VapidKey, StartError> {
    let read = |key: &str| VapidKey::parse(key).ok();
    kept_key(data_dir, "vapid_key", read, || secret::generate_vapid().private_text())
}

/// What `read` finds in a file of the data folder, which only its owner may read; `make` makes it if there is none.
fn kept_key<T>(
    data_dir: &Path,
    name: &str,
    read: impl Fn(&str) -> Option<T>,
    make: impl Fn() -> Secret,
) -> Result<T, StartError> {
    let path = data_dir.join(name);
    let failed = |error| StartError::Other(format!("{} cannot be used: {error}", path.display()));
    let holds_no_key = || StartError::Other(format!("{} holds no key; remove it", path.display()));
    match fs::read_to_string(&path) {
        Ok(key) => return read(key.trim()).ok_or_else(holds_no_key),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    fs::create_dir_all(data_dir).map_err(failed)?;
    let key = make();
    // Written elsewhere, then linked: another process that starts now never reads half a key.
    let complete = data_dir.join(format!("{name}.{}", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&complete)
        .map_err(failed)?;
    file.write_all(key.expose_secret().as_bytes()).map_err(failed)?;
    let linked = fs::hard_link(&complete, &path);
    fs::remove_file(&complete).map_err(failed)?;
    match linked {
        Ok(()) => read(key.expose_secret()).ok_or_else(holds_no_key),
        // Another process was first.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => kept_key(data_dir, name, read, make),
        Err(error) => Err(failed(error)),
    }
}

/// Reads the settings, fills in what they leave open, and runs until a signal comes.
pub fn start() -> ExitCode {
    develop().map_or_else(|error| program::fail(&error), |()| ExitCode::SUCCESS)
}

fn develop() -> Result<(), StartError> {
    let mut settings = Settings::checked(wiring::faults_of_dev)?;
    // Held until the end: when the last process drops it, the private Postgres stops.
    let prepared = prepare(&mut settings)?;
    let outcome = program::start(settings, run);
    drop(prepared);
    outcome
}

/// Migrates the database, then runs server and workers until a signal comes.
///
/// # Errors
/// When the database cannot be migrated or the address is taken.
async fn run(settings: Settings) -> Result<(), StartError> {
    let tasks = TaskTracker::new();
    let stop = stop_signals::stop_on_signals(&tasks).map_err(|error| StartError::Other(error.to_string()))?;
    let migrating = wiring::database_for_migrations(&settings, "cura-dev")?;
    let (setting, _) = settings.database.session_url()?;
    wiring::wait_for_database(&migrating, setting, FIND_WITHIN).await?;
    wiring::refuse_if_being_restored(&migrating).await?;
    migrations::up(migrating.pool())
        .await
        .map_err(|error| StartError::Other(format!("the database cannot be migrated: {error}")))?;
    let database = wiring::database(&settings, "cura-dev")?;
    // With Redis, several of these processes can share one database.
    let (live, limiter) = match settings.redis.url {
        Some(_) => (wiring::redis_live(&settings)?, wiring::redis_limiter(&settings)?),
        None => (Live::in_process(LiveConfig::default()), RateLimiter::in_process()),
    };
    let ai = wiring::ai(&settings)?;
    let files = wiring::file_store(&settings)?;
    let app = wiring::app(&settings, database.clone(), live.clone(), ai.clone(), files.clone())?;
    let (listener, address) = wiring::listen(&settings).await?;
    let probes = wiring::listen_for_probes(&settings, &database).await?;
    let page = wiring::listen_for_admins(&settings).await?;
    let scans = ScanHealth::default();
    tasks.spawn(wiring::watch_scanner(wiring::scanner(&settings), scans.clone()));
    let workers = wiring::workers(&settings, &database, live, ai, files.clone(), scans, |_| true)?;
    tasks.spawn(wiring::report_files(files));
    welcome(address, &settings.ai.providers);
    wiring::serve(&settings, listener, probes, page, app, &limiter, stop).await;
    workers.shutdown(FINISH_WITHIN).await;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the command's output: where to go next")]
fn welcome(address: SocketAddr, ai: &[ProviderSettings]) {
    let base = format!("http://{address}");
    let name = |provider: &ProviderSettings| {
        let (model, url) = provider.model_and_url();
        format!("{} at {url}", cura_domain::model_name(model))
    };
    let answers = match ai {
        [] => "the demo (set AI_MODEL_URL for a real model)".to_owned(),
        providers => providers.iter().map(name).collect::<Vec<_>>().join(", else "),
    };
    println!(
        r#"
Cura is running.

  API      {base}
  Docs     {base}/docs   (or {base}/redoc)
  Health   {base}/health
  Answers  {answers}

Talk to it: this makes an account and streams an answer.

  TOKEN=$(curl -s {base}/auth/register -H 'content-type: application/json' \
    -d "{{\"email\":\"me$RANDOM@example.com\",\"password\":\"a long password\"}}" | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
  curl -N {base}/chat/stream -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' \
    -d '{{"content":"Hello, who are you?"}}'

Ctrl-C stops everything; accounts and conversations are kept.
"#
    );
}
