//! Whether this server is closing: open streams end, so that their clients go on at another one.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Shared by every request of a server.
#[derive(Debug, Clone)]
pub struct Closing {
    token: CancellationToken,
    /// HTTP lets go of a connection that becomes a socket, so they are counted here.
    sockets: TaskTracker,
}

impl Closing {
    /// Closing when `token` is cancelled.
    pub fn new(token: CancellationToken) -> Self {
        Self {
            token,
            sockets: TaskTracker::new(),
        }
    }

    /// To wait on.
    pub(crate) fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Whether it has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Held by a socket while it is open.
    pub(crate) fn open_socket(&self) -> TaskTrackerToken {
        self.sockets.token()
    }

    /// Waits until every socket has said goodbye, after the server has begun to close.
    pub async fn sockets_closed(&self) {
        self.sockets.close();
        self.sockets.wait().await;
    }
}
