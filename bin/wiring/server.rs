//! The HTTP side: the listening socket, and the API served on it until the stop.

use std::net::SocketAddr;

use cura_api::{
    CLOSING_RESERVE, ConnectionLimits, Edge, Origins, PROBE_RESERVE, RateLimits, Shutdown, UserConnections,
};
use cura_app::App;
use cura_app::log_key::LogKey;
use cura_live::RateLimiter;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::board::{BOARD_CONNECTIONS, BOARD_POOL_SIZE};
use super::clock_and_entropy::entropy;
use super::probes::{METRICS_CONNECTIONS, Probes};
use crate::descriptors;
use crate::program::StartError;
use crate::settings::{Settings, wrong};

/// A socket on the configured address.
///
/// # Errors
/// When another process uses it, or this process may not.
pub async fn listen(settings: &Settings) -> Result<(TcpListener, SocketAddr), StartError> {
    let listener = bind("PORT", &settings.server.host, settings.server.port).await?;
    let address = listener
        .local_addr()
        .map_err(|error| StartError::Other(error.to_string()))?;
    Ok((listener, address))
}

pub(super) async fn bind(setting: &'static str, host: &str, port: u16) -> Result<TcpListener, StartError> {
    TcpListener::bind((host, port))
        .await
        .map_err(|error| wrong(setting, format!("{port} on {host} cannot be used: {error}")).into())
}

/// Serves until `stop`, then lets requests finish and closes sockets, both within the configured grace.
pub async fn serve(
    settings: &Settings,
    listener: TcpListener,
    probes: Option<Probes>,
    page: Option<TcpListener>,
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
    let _operator_changes = AbortOnDropHandle::new(tasks.spawn(app.operator_changes.clone().run()));
    let _heartbeat = AbortOnDropHandle::new(tasks.spawn(app.feed.clone().run_heartbeat()));
    let limits = RateLimits::new(limiter, settings.limits.rates, settings.server.trusted_proxies.clone());
    let shutdown = Shutdown::new(stop.clone());
    let of_users = UserConnections::new(settings.limits.user_connections);
    #[cfg(feature = "board")]
    let _board = page
        .and_then(|page| super::board::serve_board(settings, page, &app, limits.clone()))
        .map(|serving| AbortOnDropHandle::new(tasks.spawn(serving)));
    #[cfg(not(feature = "board"))]
    drop(page);
    let api = cura_api::api(app, origins, limits, of_users, shutdown.clone());
    let grace = settings.process.shutdown_grace;
    // Dropped when this function returns: until then, the server's health can be asked for.
    let _probes = probes.map(|probes| AbortOnDropHandle::new(tasks.spawn(probes.serve(settings, &api))));
    let page = match settings.server.admin {
        Some(_) => BOARD_POOL_SIZE as usize + BOARD_CONNECTIONS + PROBE_RESERVE + CLOSING_RESERVE,
        None => 0,
    };
    let others = settings.database.pool_size as usize + PROBE_RESERVE + CLOSING_RESERVE + METRICS_CONNECTIONS + page;
    let connections = ConnectionLimits {
        total: descriptors::max_connections(others),
        per_address: settings.server.connections_per_address,
    };
    let serving = cura_api::serve(listener, api, edge(settings, connections), stop.clone(), grace);
    let until = async {
        stop.cancelled().await;
        Instant::now() + grace
    };
    let (aborted_connections, until) = tokio::join!(serving, until);
    // Sockets have been closing since the stop; the last request may have opened one more.
    let _ = tokio::time::timeout_at(until, shutdown.sockets_closed()).await;
    tracing::info!(aborted_connections, "the server has stopped");
}

pub(super) fn edge(settings: &Settings, limits: ConnectionLimits) -> Edge {
    Edge {
        limits,
        proxies: settings.server.trusted_proxies.clone(),
        origins: Origins::new(&settings.server.allowed_origins),
        log_key: LogKey::new(settings.security.signing_key()),
        entropy: entropy(),
    }
}
