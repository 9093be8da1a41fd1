//! A reader's hold on something that is watched: that it begins and ends is told to the tasks that follow the set of watched things.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::redis::{Channel, ChannelChanges};

/// Tells that it begins, and that it was dropped. Empty where readers share the writer's memory and no task has to follow.
#[derive(Default)]
pub(crate) struct Subscription(Option<Held>);

struct Held {
    channel: Channel,
    changes: Arc<ChannelChanges>,
    /// Woken as well.
    listener: Option<Arc<Notify>>,
}

impl Subscription {
    /// Tells `changes`, and wakes `listener`, now and again when it is dropped.
    pub(crate) fn begin(channel: Channel, changes: Arc<ChannelChanges>, listener: Option<Arc<Notify>>) -> Self {
        let held = Held {
            channel,
            changes,
            listener,
        };
        held.tell();
        Self(Some(held))
    }
}

impl Held {
    fn tell(&self) {
        self.changes.note(self.channel);
        if let Some(listener) = &self.listener {
            listener.notify_one();
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(held) = &self.0 {
            held.tell();
        }
    }
}
