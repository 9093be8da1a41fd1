//! `cura-server dev`: everything in one process, nothing to configure.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use cura_devdb::{PrivatePostgres, Profile};
use cura_live::{Limiter, Live, LiveConfig};
use cura_providers::Secret;
use tokio_util::task::TaskTracker;

use crate::settings::{AiSettings, Settings};
use crate::wiring::{self, StartError};
use crate::{lifecycle, migrations};

/// How long answers may finish when the process stops; on one machine nobody else could take them over.
const FINISH: Duration = Duration::from_secs(10);

/// A private Postgres and a signing key of its own, where the settings name none. Blocks; call before the runtime starts.
///
/// # Errors
/// When the private Postgres cannot be started, or the data folder cannot be written.
pub fn prepare(settings: &mut Settings) -> Result<Option<PrivatePostgres>, StartError> {
    if settings.secret_key.is_none() {
        settings.secret_key = Some(signing_key(&settings.data_dir)?);
    }
    if settings.database_url.is_some() {
        return Ok(None);
    }
    let postgres = PrivatePostgres::start(&settings.data_dir, Profile::Durable, None)
        .map_err(|error| StartError::Other(error.to_string()))?;
    settings.database_url = Some(postgres.url("cura").into());
    Ok(Some(postgres))
}

/// The key in the data folder, made when there is none, so that people stay signed in.
fn signing_key(data_dir: &Path) -> Result<Secret, StartError> {
    let path = data_dir.join("secret_key");
    let failed = |error| StartError::Other(format!("{} cannot be used: {error}", path.display()));
    match fs::read_to_string(&path) {
        Ok(key) if key.trim().len() >= 32 => return Ok(key.trim().into()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    fs::create_dir_all(data_dir).map_err(failed)?;
    let key = crate::secret();
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    file.write_all(key.as_bytes()).map_err(failed)?;
    Ok(key.into())
}

/// Server and workers until a signal comes.
///
/// # Errors
/// When the database cannot be migrated or the address is taken.
pub async fn run(settings: Settings) -> Result<(), StartError> {
    let tasks = TaskTracker::new();
    let stop = lifecycle::stop_on_signals(&tasks).map_err(|error| StartError::Other(error.to_string()))?;
    let pool = wiring::pool(&settings, "cura-dev")?;
    migrations::up(&pool)
        .await
        .map_err(|error| StartError::Other(format!("the database cannot be migrated: {error}")))?;
    let live = Live::in_process(LiveConfig::default());
    let ai = wiring::ai(&settings)?;
    let app = wiring::app(&settings, pool.clone(), live.clone(), ai.clone())?;
    let (listener, address) = wiring::listen(&settings).await?;
    let workers = wiring::workers(&settings, &pool, live, ai, |_| true);
    welcome(address, &settings.ai);
    wiring::serve(&settings, listener, app, &Limiter::in_process(), stop).await;
    workers.shutdown(FINISH).await;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what a person who typed one command wants to see")]
fn welcome(address: SocketAddr, ai: &AiSettings) {
    let base = format!("http://{address}");
    let voice = match ai {
        AiSettings::Demo => "the demo voice (set AI_MODEL_URL for a real model)".to_owned(),
        AiSettings::OpenAi(config) => format!("{} at {}", config.model, config.base_url),
    };
    println!(
        r#"
Cura is running.

  API      {base}
  Docs     {base}/docs   (or {base}/redoc)
  Health   {base}/health
  Answers  {voice}

Talk to it: this makes an account and streams an answer.

  TOKEN=$(curl -s {base}/auth/register -H 'content-type: application/json' \
    -d "{{\"email\":\"me$RANDOM@example.com\",\"password\":\"a long password\"}}" | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
  curl -N {base}/chat/stream -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' \
    -d '{{"content":"Hello, who are you?"}}'

Ctrl-C stops everything; what was said is kept.
"#
    );
}
