//! `cura-server`: the HTTP server; `cura-server dev`: everything in one process.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use cura_bin::settings::Settings;
use cura_bin::wiring::{self, StartError};
use cura_bin::{dev, lifecycle, program};
use tokio_util::task::TaskTracker;

/// The HTTP server of Cura. Settings come from the environment and `.env`; see `.env.example`.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// How many seconds to wait at the start for Postgres (with its migrations) and Redis.
    #[arg(long, default_value_t = 3, value_name = "SECONDS")]
    wait: u64,
    #[command(subcommand)]
    mode: Option<Mode>,
}

#[derive(Subcommand)]
enum Mode {
    /// Run everything in one process, on a private Postgres in DATA_DIR: nothing to configure.
    Dev,
}

fn main() -> ExitCode {
    // Before anything else: this process may be the keeper of a private Postgres.
    cura_devdb::run_keeper_if_asked();
    let arguments = Arguments::parse();
    match arguments.mode {
        None => program::run(|settings| serve(settings, Duration::from_secs(arguments.wait))),
        Some(Mode::Dev) => develop().map_or_else(|error| program::fail(&error), |()| ExitCode::SUCCESS),
    }
}

async fn serve(settings: Settings, wait: Duration) -> Result<(), StartError> {
    let tasks = TaskTracker::new();
    let stop = lifecycle::stop_on_signals(&tasks).map_err(|error| StartError::Other(error.to_string()))?;
    let pool = wiring::pool(&settings, "cura-server")?;
    let live = wiring::redis_live(&settings)?;
    let limiter = wiring::redis_limiter(&settings)?;
    let ai = wiring::ai(&settings)?;
    let app = wiring::app(&settings, pool.clone(), live.clone(), ai)?;
    tokio::select! {
        found = wiring::dependencies(&pool, &live, wait) => found?,
        () = stop.cancelled() => return Ok(()),
    }
    let (listener, address) = wiring::listen(&settings).await?;
    tracing::info!(%address, "serving");
    wiring::serve(&settings, listener, app, &limiter, stop).await;
    Ok(())
}

fn develop() -> Result<(), StartError> {
    let mut settings = Settings::from_environment()?;
    // Held until the end: the last one to let go stops the private Postgres.
    let prepared = dev::prepare(&mut settings)?;
    let outcome = program::start(settings, dev::run);
    drop(prepared);
    outcome
}
