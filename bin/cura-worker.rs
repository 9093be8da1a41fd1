//! `cura-worker`: consumes the queues.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use cura_bin::settings::Settings;
use cura_bin::wiring::{self, StartError};
use cura_bin::{lifecycle, program};
use cura_jobs::QUEUES;
use tokio_util::task::TaskTracker;

/// A worker of Cura. Settings come from the environment and `.env`; see `.env.example`.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The queues to consume, separated by commas; all unless said otherwise.
    #[arg(long, value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(QUEUES))]
    queues: Vec<String>,
    /// How many seconds to wait at the start for Postgres (with its migrations) and Redis.
    #[arg(long, default_value_t = 3, value_name = "SECONDS")]
    wait: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    program::run(|settings| work(settings, arguments))
}

async fn work(settings: Settings, arguments: Arguments) -> Result<(), StartError> {
    let tasks = TaskTracker::new();
    let stop = lifecycle::stop_on_signals(&tasks).map_err(|error| StartError::Other(error.to_string()))?;
    let pool = wiring::pool(&settings, "cura-worker")?;
    let live = wiring::redis_live(&settings)?;
    let ai = wiring::ai(&settings)?;
    tokio::select! {
        found = wiring::dependencies(&pool, &live, Duration::from_secs(arguments.wait)) => found?,
        () = stop.cancelled() => return Ok(()),
    }
    let wanted = |queue: &str| arguments.queues.is_empty() || arguments.queues.iter().any(|wanted| wanted == queue);
    let workers = wiring::workers(&settings, &pool, live, ai, wanted)?;
    tracing::info!(queues = ?QUEUES.iter().filter(|queue| wanted(queue)).collect::<Vec<_>>(), "working");
    stop.cancelled().await;
    let drained = workers.shutdown(settings.shutdown_grace).await;
    tracing::info!(given_back = drained.given_back, "the worker has stopped");
    Ok(())
}
