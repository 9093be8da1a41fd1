//! `cura-worker`: runs the jobs of its queues until a signal stops it.

use std::time::Duration;

use cura_providers::scan::ScanHealth;
use cura_queue::{Job as _, ScanUpload};
use tokio_util::task::TaskTracker;

use crate::program::StartError;
use crate::settings::Settings;
use crate::{stop_signals, wiring};

/// Runs the jobs of `queues`, of all queues if none is named, once Postgres and Redis are there; waits `wait` for them at most.
///
/// # Errors
/// The setting or the dependency that is missing, and the cure.
pub async fn run(settings: Settings, queues: Vec<String>, wait: Duration) -> Result<(), StartError> {
    let tasks = TaskTracker::new();
    let stop = stop_signals::stop_on_signals(&tasks).map_err(|error| StartError::Other(error.to_string()))?;
    let database = wiring::database(&settings, "cura-worker")?;
    let live = wiring::redis_live(&settings)?;
    let ai = wiring::ai(&settings)?;
    let files = wiring::file_store(&settings)?;
    tokio::select! {
        found = wiring::wait_for_dependencies(&database, &live, wait) => found?,
        () = stop.cancelled() => return Ok(()),
    }
    let wanted = |queue: &str| queues.is_empty() || queues.iter().any(|wanted| wanted == queue);
    wiring::report_push(&settings);
    tasks.spawn(wiring::report_files(files.clone()));
    let scans = ScanHealth::default();
    if wanted(ScanUpload::QUEUE) {
        tasks.spawn(wiring::watch_scanner(wiring::scanner(&settings), scans.clone()));
    }
    let workers = wiring::workers(&settings, &database, live, ai, files, scans, wanted)?;
    tracing::info!(queues = ?cura_jobs::queues().into_iter().filter(|queue| wanted(queue)).collect::<Vec<_>>(), "the worker has started");
    stop.cancelled().await;
    let drained = workers.shutdown(settings.process.shutdown_grace).await;
    tracing::info!(released = drained.released, "the worker has stopped");
    Ok(())
}
