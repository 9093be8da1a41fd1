//! How many sends are under way at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many sends one service gets at once: over a hundred streams Firebase closes the connection.
const MAX_SENDS: usize = 50;

/// The sends that one service may get at once.
pub(super) struct Permits(Arc<Semaphore>);

/// The right to send one push, given back when it is dropped.
pub struct SendPermit(#[expect(dead_code, reason = "given back when it is dropped")] OwnedSemaphorePermit);

impl Default for Permits {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_SENDS)))
    }
}

impl Permits {
    /// Waits for the right to send.
    pub(super) async fn acquire(&self) -> Option<SendPermit> {
        let permit = Arc::clone(&self.0).acquire_owned().await;
        permit.ok().map(SendPermit)
    }

    /// The right to send, if there is one at this moment.
    pub(super) fn try_acquire(&self) -> Option<SendPermit> {
        Arc::clone(&self.0).try_acquire_owned().ok().map(SendPermit)
    }
}
