//! Whether this server is closing: open streams end, so that their clients go on at another one.

use tokio_util::sync::CancellationToken;

/// Shared by every request of a server.
#[derive(Debug, Clone)]
pub struct Closing(CancellationToken);

impl Closing {
    /// Closing when `token` is cancelled.
    pub fn new(token: CancellationToken) -> Self {
        Self(token)
    }

    /// To wait on.
    pub(crate) fn token(&self) -> CancellationToken {
        self.0.clone()
    }

    /// Whether it has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.is_cancelled()
    }
}
