//! The operators' page on its own port, in programs that are built with it (cargo feature `board`).

use tokio::net::TcpListener;

use super::server::bind;
use crate::program::StartError;
use crate::settings::{SettingError, Settings, wrong};

/// The most connections of the operators' page.
pub(super) const BOARD_CONNECTIONS: usize = 64;
/// Connections of the operators' page to Postgres.
pub const BOARD_POOL_SIZE: u32 = 2;

/// What keeps a program without the page from starting with `ADMIN_PORT`.
pub fn board_missing(settings: &Settings) -> Option<SettingError> {
    let is_missing = settings.server.admin.is_some() && !cfg!(feature = "board");
    is_missing.then(|| {
        wrong(
            "ADMIN_PORT",
            "needs a program that was built with the queue's page (`--features board`, as the image is); unset it, or use that program",
        )
    })
}

/// A socket for the operators' page; `None` without `ADMIN_PORT`.
///
/// # Errors
/// When another process uses it, or this process may not.
pub async fn listen_for_admins(settings: &Settings) -> Result<Option<TcpListener>, StartError> {
    let Some((host, port)) = &settings.server.admin else {
        return Ok(None);
    };
    bind("ADMIN_PORT", host, *port).await.map(Some)
}

#[cfg(feature = "board")]
pub use serving::board_pool;
#[cfg(feature = "board")]
pub(super) use serving::serve_board;

#[cfg(feature = "board")]
mod serving {
    use std::time::Duration;

    use cura_api::{BoardParts, ConnectionLimits, PgPool, RateLimits};
    use cura_app::App;
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::{BOARD_CONNECTIONS, BOARD_POOL_SIZE};
    use crate::settings::{SettingError, Settings, wrong};
    use crate::wiring::clock_and_entropy::entropy;
    use crate::wiring::server::edge;

    /// How long Postgres may take for one listing, and how long a listing waits for a connection.
    const LISTING_TIMEOUT: Duration = Duration::from_secs(2);

    /// The connections of the page: they write nothing.
    ///
    /// # Errors
    /// When `url` is not a Postgres URL.
    pub fn board_pool(url: &str) -> Result<PgPool, SettingError> {
        cura_postgres::reading_pool(url, "cura-board", BOARD_POOL_SIZE, LISTING_TIMEOUT)
            .map_err(|_| wrong("DATABASE_URL", "is not the URL of a Postgres"))
    }

    /// Serves the operators' page until it is dropped.
    pub fn serve_board(
        settings: &Settings,
        listener: TcpListener,
        app: &App,
        limits: RateLimits,
    ) -> Option<impl Future<Output = ()> + use<>> {
        let (host, _) = settings.server.admin.clone()?;
        // Checked at the start: the server itself uses it.
        let (_, url) = settings.database.session_url().ok()?;
        let pool = board_pool(url).ok()?;
        if let Ok(address) = listener.local_addr() {
            tracing::info!(board = %address, "the queue's page is served to admins");
        }
        let board = cura_api::board(BoardParts {
            sessions: app.page_sessions.clone(),
            limits,
            pool,
            host,
            entropy: entropy(),
        });
        let connections = ConnectionLimits {
            total: BOARD_CONNECTIONS,
            per_address: 0,
        };
        let edge = edge(settings, connections);
        Some(async move {
            cura_api::serve(listener, board, edge, CancellationToken::new(), Duration::ZERO).await;
        })
    }
}
