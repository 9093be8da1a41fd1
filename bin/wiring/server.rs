//! The HTTP side: the listening socket, and the API served on it until the stop.

use std::net::SocketAddr;

use cura_api::{Origins, RateLimits, Shutdown};
use cura_app::App;
use cura_live::RateLimiter;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::clock_and_entropy::entropy;
use crate::program::StartError;
use crate::settings::{Settings, wrong};

/// A socket on the configured address.
///
/// # Errors
/// When another process uses it, or this process may not.
pub async fn listen(settings: &Settings) -> Result<(TcpListener, SocketAddr), StartError> {
    let listener = TcpListener::bind((settings.server.host.as_str(), settings.server.port))
        .await
        .map_err(|error| {
            wrong(
                "PORT",
                format!(
                    "{} on {} cannot be used: {error}",
                    settings.server.port, settings.server.host
                ),
            )
        })?;
    let address = listener
        .local_addr()
        .map_err(|error| StartError::Other(error.to_string()))?;
    Ok((listener, address))
}

/// Serves until `stop`, then lets requests finish and closes sockets, both within the configured grace.
pub async fn serve(
    settings: &Settings,
    listener: TcpListener,
    app: App,
    limiter: &RateLimiter,
    stop: CancellationToken,
) {
    if !app.notices.are_reviewed() {
        tracing::warn!("the care rules were not reviewed by professionals; see CARE_RULES_FILE");
    }
    let origins = Origins::new(&settings.server.allowed_origins);
    // These tasks run until the last stream has ended.
    let tasks = TaskTracker::new();
    let _session_watch = AbortOnDropHandle::new(tasks.spawn(app.session_watch.clone().run()));
    let _heartbeat = AbortOnDropHandle::new(tasks.spawn(app.feed.clone().run_heartbeat()));
    let limits = RateLimits::new(limiter, settings.limits.rates, settings.server.trusted_proxies.clone());
    let shutdown = Shutdown::new(stop.clone());
    let api = cura_api::api(app, origins, limits, shutdown.clone());
    let grace = settings.process.shutdown_grace;
    let entropy = entropy();
    let serving = cura_api::serve(listener, api, &entropy, stop.clone(), grace);
    let until = async {
        stop.cancelled().await;
        Instant::now() + grace
    };
    let (aborted_connections, until) = tokio::join!(serving, until);
    // Sockets have been closing since the stop; the last request may have opened one more.
    let _ = tokio::time::timeout_at(until, shutdown.sockets_closed()).await;
    tracing::info!(aborted_connections, "the server has stopped");
}
