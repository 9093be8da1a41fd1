//! A reader's hold on something that is watched: that it begins and ends is told to the tasks that follow the set of watched things.

use std::sync::Arc;

use crate::redis::{Channel, ChannelChanges};

/// Tells that it begins, and that it was dropped. Empty where readers share the writer's memory and no task has to follow.
#[derive(Default)]
pub(crate) struct Subscription(Option<Held>);

struct Held {
    channel: Channel,
    changes: Arc<ChannelChanges>,
}

impl Subscription {
    /// Tells `changes`, now and again when it is dropped.
    pub(crate) fn begin(channel: Channel, changes: Arc<ChannelChanges>) -> Self {
        let held = Held { channel, changes };
        held.tell();
        Self(Some(held))
    }
}

impl Held {
    fn tell(&self) {
        self.changes.note(self.channel);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(held) = &self.0 {
            held.tell();
        }
    }
}
