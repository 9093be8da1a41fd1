//! Signals: the first SIGTERM or SIGINT stops the process gracefully, the second one at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The exit code of a forced stop: what a shell reports for SIGINT.
const FORCED: i32 = 130;

/// A token that is cancelled by the first SIGTERM or SIGINT. The second one ends the process at once.
///
/// # Errors
/// When the operating system refuses a signal handler.
pub fn stop_on_signals(tasks: &TaskTracker) -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let first = stop.clone();
    tasks.spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        tracing::info!("stopping; a second signal forces it");
        first.cancel();
        next().await;
        tracing::warn!("stopped by force");
        std::process::exit(FORCED);
    });
    Ok(stop)
}
