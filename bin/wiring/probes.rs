//! The port that tells how a server is (`METRICS_PORT`): its health, and its metrics.

use std::time::Duration;

use cura_api::{Api, ConnectionLimits};
use cura_store::{Database, backups};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::server::{bind, edge};
use crate::program::StartError;
use crate::settings::Settings;
use crate::telemetry::metrics::{self, Metrics};

/// The most connections of this port.
pub(super) const METRICS_CONNECTIONS: usize = 64;
/// How old what is told of backups may be: less than a usual scrape interval.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A socket on this port, and what it tells.
pub struct Probes {
    listener: TcpListener,
    metrics: Metrics,
    database: Database,
}

/// Opens the port; `None` without `METRICS_PORT`.
///
/// # Errors
/// When another process uses it, or this process may not.
pub async fn listen_for_probes(settings: &Settings, database: &Database) -> Result<Option<Probes>, StartError> {
    let Some((host, port)) = &settings.server.metrics else {
        return Ok(None);
    };
    Ok(Some(Probes {
        listener: bind("METRICS_PORT", host, *port).await?,
        metrics: Metrics::begin().map_err(|error| StartError::Other(error.to_string()))?,
        database: database.clone(),
    }))
}

impl Probes {
    /// Answers until it is dropped.
    pub(super) fn serve(self, settings: &Settings, api: &Api) -> impl Future<Output = ()> + use<> {
        let Self {
            listener,
            metrics,
            database,
        } = self;
        if let Ok(address) = listener.local_addr() {
            tracing::info!(metrics = %address, "the health of the server is told on a port of its own, too");
        }
        let connections = ConnectionLimits {
            total: METRICS_CONNECTIONS,
            per_address: 0,
        };
        let edge = edge(settings, connections);
        let probes = cura_api::probes(api, move || metrics.render());
        async move {
            let serving = cura_api::serve(listener, probes, edge, CancellationToken::new(), Duration::ZERO);
            tokio::join!(serving, watch_backups(database));
        }
    }
}

/// Keeps what the metrics say of backups. While Postgres is away, they say what was so.
async fn watch_backups(database: Database) {
    loop {
        if let Ok(Some(made)) = database.connection(backups::find_last).await {
            metrics::set_last_backup(&made);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
