//! Who watches a response, in the data of the response: its connection knows how it ends, and whether the client has
//! taken it.
//!
//! A client leaves in order when it closes the connection while the response goes on, or when the response has ended by
//! itself, and the client asks for something else on the same connection or closes it. Everything else may be the end
//! of a connection that had been dead for a while: an error, a response that the server ends, and whatever a proxy does
//! with its own connections.

use std::sync::{Arc, Mutex, PoisonError};

use cura_app::feed::Watcher;

/// In the data of a request that came by a trusted proxy, which may keep a connection whose client is gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BehindProxy;

/// The watcher of a response. Cheap to clone; clones are the same.
#[derive(Clone)]
pub(crate) struct Watching(Arc<Mutex<Option<Watcher>>>);

impl Watching {
    /// `None` if the response is not watched.
    pub(crate) fn new(watcher: Option<Watcher>) -> Self {
        Self(Arc::new(Mutex::new(watcher)))
    }

    /// The response has ended by itself. Its watcher does not count any more, but may still leave in order.
    pub(super) fn pause(&self) {
        self.with(|watcher| {
            if let Some(watcher) = watcher {
                watcher.set_visible(false);
            }
        });
    }

    /// The client has left in order.
    pub(super) fn leave_in_order(&self) {
        if let Some(watcher) = self.with(Option::take) {
            watcher.leave_in_order();
        }
    }

    /// Nobody knows what the client has taken.
    pub(crate) fn lose(&self) {
        drop(self.with(Option::take));
    }

    fn with<T>(&self, action: impl FnOnce(&mut Option<Watcher>) -> T) -> T {
        // Nothing panics while it holds the lock.
        action(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
