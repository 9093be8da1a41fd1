//! Whether this server is shutting down: open streams end, so that their clients continue on another server.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Shared by every request of a server.
#[derive(Debug, Clone)]
pub struct Shutdown {
    token: CancellationToken,
    /// hyper gives up connections that become sockets, so they are counted here.
    sockets: TaskTracker,
}

impl Shutdown {
    /// A shutdown that begins when `token` is cancelled.
    pub fn new(token: CancellationToken) -> Self {
        Self {
            token,
            sockets: TaskTracker::new(),
        }
    }

    /// Cancelled when the shutdown begins.
    pub(crate) fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Whether the shutdown has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Held by a socket while it is open.
    pub(crate) fn open_socket(&self) -> TaskTrackerToken {
        self.sockets.token()
    }

    /// Waits until every socket is closed, after the shutdown has begun.
    pub async fn sockets_closed(&self) {
        self.sockets.close();
        self.sockets.wait().await;
    }
}
