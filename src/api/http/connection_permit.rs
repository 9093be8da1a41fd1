//! One of the connections that a server may hold.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A permit to hold a connection, given back when its last clone is dropped. Every request carries one: hyper gives up a
/// connection that becomes a socket, and the socket keeps the permit.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionPermit {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl ConnectionPermit {
    /// Waits until a permit is free. `None` if `permits` is closed.
    pub(crate) async fn acquire(permits: &Arc<Semaphore>) -> Option<Self> {
        let permit = Arc::clone(permits).acquire_owned().await.ok()?;
        Some(Self {
            _permit: Arc::new(permit),
        })
    }
}
