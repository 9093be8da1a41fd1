//! What a user's connections are told between two looks at the log: that there is more, and what passes at once. A hint
//! that gets lost costs the wait for the next look, never an event.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cura_domain::{ConversationId, UserId};
use tokio::sync::broadcast;

use crate::redis::Subscription;

/// Signals a connection may be behind; one that is further behind looks at the log.
const BACKLOG: usize = 8;

/// Something a user's connections are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The log has an event with this number.
    Logged(i64),
    /// The user types somewhere, or has stopped.
    Typing {
        /// Where.
        conversation: ConversationId,
        /// Whether they do.
        is_typing: bool,
        /// The connection that says so, which needs not be told.
        origin: u64,
    },
    /// The last event of the log has this number, as somebody has just seen. Never published.
    Standing(i64),
    /// Something may have been missed: look at the log.
    Look,
}

impl Signal {
    /// As it is published.
    pub(crate) fn encode(self) -> String {
        match self {
            Self::Logged(seq) => format!("l {seq}"),
            Self::Typing {
                conversation,
                is_typing,
                origin,
            } => format!("t {conversation} {} {origin}", u8::from(is_typing)),
            Self::Standing(_) | Self::Look => "?".to_owned(),
        }
    }

    /// What was published; what cannot be read is a reason to look.
    pub(crate) fn decode(text: &str) -> Self {
        let mut parts = text.split(' ');
        let kind = parts.next();
        let mut number = || parts.next()?.parse::<u64>().ok();
        match kind {
            Some("l") => number().and_then(|seq| seq.try_into().ok()).map(Self::Logged),
            Some("t") => number()
                .and_then(|id| id.try_into().ok())
                .zip(number())
                .zip(number())
                .map(|((id, typing), origin)| Self::Typing {
                    conversation: ConversationId(id),
                    is_typing: typing == 1,
                    origin,
                }),
            _ => None,
        }
        .unwrap_or(Self::Look)
    }
}

/// The users with connections in this process.
#[derive(Clone, Default)]
pub(crate) struct Users(Arc<Mutex<HashMap<UserId, broadcast::Sender<Signal>>>>);

impl Users {
    pub(crate) fn watch(&self, user: UserId) -> broadcast::Receiver<Signal> {
        let mut table = self.lock();
        table
            .entry(user)
            .or_insert_with(|| broadcast::Sender::new(BACKLOG))
            .subscribe()
    }

    /// Tells the connections of `user` in this process.
    pub(crate) fn tell(&self, user: UserId, signal: Signal) {
        if let Some(sender) = self.lock().get(&user) {
            // Nobody listening is nobody to tell.
            let _ = sender.send(signal);
        }
    }

    /// Who has a connection here; forgets who has none any more.
    pub(crate) fn watched(&self) -> Vec<UserId> {
        let mut table = self.lock();
        table.retain(|_, sender| sender.receiver_count() > 0);
        table.keys().copied().collect()
    }

    pub(crate) fn is_watched(&self, user: UserId) -> bool {
        self.lock().get(&user).is_some_and(|sender| sender.receiver_count() > 0)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, broadcast::Sender<Signal>>> {
        // Nothing panics while holding it; a poisoned lock still holds a sound table.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's ear. While it lives, its user is present.
pub struct UserWatch {
    signals: broadcast::Receiver<Signal>,
    // After the receiver: whoever is told that it went finds it gone.
    _subscription: Option<Subscription>,
}

impl UserWatch {
    pub(crate) fn new(signals: broadcast::Receiver<Signal>, subscription: Option<Subscription>) -> Self {
        Self {
            signals,
            _subscription: subscription,
        }
    }

    /// The next signal; waits for it. Safe to cancel.
    pub async fn next(&mut self) -> Signal {
        match self.signals.recv().await {
            Ok(signal) => signal,
            Err(broadcast::error::RecvError::Lagged(_)) => Signal::Look,
            // The table forgets only whom nobody watches.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_round_trips_and_what_cannot_be_read_is_a_reason_to_look() {
        for signal in [
            Signal::Logged(42),
            Signal::Typing {
                conversation: ConversationId(7),
                is_typing: true,
                origin: u64::MAX,
            },
            Signal::Look,
        ] {
            assert_eq!(Signal::decode(&signal.encode()), signal);
        }
        for bad in ["", "l", "l -1", "l x", "t 1", "t 1 1", "nonsense"] {
            assert_eq!(Signal::decode(bad), Signal::Look, "{bad}");
        }
    }
}
