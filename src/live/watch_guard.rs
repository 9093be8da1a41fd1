//! A reader's hold on something that is watched: dropping it wakes the task that follows the set of watched things.

use std::sync::Arc;

use tokio::sync::Notify;

/// Wakes each of its listeners when dropped. Empty where readers share the writer's memory and no task has to follow.
#[derive(Default)]
pub(crate) struct Subscription(Vec<Arc<Notify>>);

impl Subscription {
    /// Wakes `listeners` now and again when it is dropped.
    pub(crate) fn begin(listeners: Vec<Arc<Notify>>) -> Self {
        let subscription = Self(listeners);
        subscription.notify();
        subscription
    }

    fn notify(&self) {
        for listener in &self.0 {
            listener.notify_one();
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.notify();
    }
}
