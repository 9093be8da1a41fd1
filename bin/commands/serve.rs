//! `cura-server`: serves the API until a signal stops it.

use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::program::StartError;
use crate::settings::Settings;
use crate::{stop_signals, wiring};

/// Serves once Postgres, with its migrations, and Redis are there; waits `wait` for them at most.
///
/// # Errors
/// The setting or the dependency that is missing, and the cure.
pub async fn run(settings: Settings, wait: Duration) -> Result<(), StartError> {
    let tasks = TaskTracker::new();
    let stop = stop_signals::stop_on_signals(&tasks).map_err(|error| StartError::Other(error.to_string()))?;
    let database = wiring::database(&settings, "cura-server")?;
    let live = wiring::redis_live(&settings)?;
    let limiter = wiring::redis_limiter(&settings)?;
    let ai = wiring::ai(&settings)?;
    let files = wiring::file_store(&settings)?;
    let app = wiring::app(&settings, database.clone(), live.clone(), ai, files.clone())?;
    tokio::select! {
        found = wiring::wait_for_dependencies(&database, &live, wait) => found?,
        () = stop.cancelled() => return Ok(()),
    }
    let (listener, address) = wiring::listen(&settings).await?;
    let probes = wiring::listen_for_probes(&settings, &database).await?;
    let page = wiring::listen_for_admins(&settings).await?;
    wiring::report_push(&settings);
    tasks.spawn(wiring::report_files(files));
    tracing::info!(%address, "the server has started");
    wiring::serve(&settings, listener, probes, page, app, &limiter, stop).await;
    Ok(())
}
