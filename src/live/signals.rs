//! Signals: hints to a user's connections that may be lost.
//!
//! A lost signal costs the wait until the event log is read next, never an event. A connection that falls behind, or gets
//! a signal it cannot decode, is given [`Signal::ReadLog`]. Typing is apart from that: it is in no log.

use cura_domain::ConversationId;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::memory::UserReceivers;
use crate::watch_guard::Subscription;

/// A hint to a user's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The event log has an event with this number.
    Logged(i64),
    /// The user started or stopped typing in a conversation.
    Typing {
        /// The conversation.
        conversation: ConversationId,
        /// Whether they are typing.
        is_typing: bool,
        /// The connection that reported it, which ignores the signal.
        origin: u64,
    },
    /// The last event in the log has this number, as just read from Postgres. Only published within a process.
    LastEvent(i64),
    /// Signals may have been lost: read the event log.
    ReadLog,
}

impl Signal {
    /// The text that is published.
    pub(crate) fn encode(self) -> String {
        match self {
            Self::Logged(seq) => format!("l {seq}"),
            Self::Typing {
                conversation,
                is_typing,
                origin,
            } => format!("t {conversation} {} {origin}", u8::from(is_typing)),
            Self::LastEvent(_) | Self::ReadLog => "?".to_owned(),
        }
    }

    /// Decodes a published text; [`Signal::ReadLog`] if that fails.
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
        .unwrap_or(Self::ReadLog)
    }
}

/// The signals of one user, for one connection.
pub struct UserWatch {
    signals: UserReceivers,
    // Declared last, so dropped last: the task it wakes must find the receiver gone.
    _subscription: Subscription,
}

impl UserWatch {
    pub(crate) fn new(signals: UserReceivers, subscription: Subscription) -> Self {
        Self {
            signals,
            _subscription: subscription,
        }
    }

    /// Waits for the next signal. Cancel-safe.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            logged = self.signals.log.recv() => match logged {
                Ok(signal) => signal,
                Err(RecvError::Lagged(_)) => Signal::ReadLog,
                // Cannot happen: the table drops only users without receivers.
                Err(RecvError::Closed) => std::future::pending().await,
            },
            typing = next_typing(&mut self.signals.typing) => typing,
        }
    }
}

/// The next typing signal. Of those that this connection was too slow for, only the newest are left.
async fn next_typing(signals: &mut broadcast::Receiver<Signal>) -> Signal {
    loop {
        match signals.recv().await {
            Ok(signal) => return signal,
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_round_trips_and_what_cannot_be_decoded_is_a_reason_to_read_the_log() {
        for signal in [
            Signal::Logged(42),
            Signal::Typing {
                conversation: ConversationId(7),
                is_typing: true,
                origin: u64::MAX,
            },
            Signal::ReadLog,
        ] {
            assert_eq!(Signal::decode(&signal.encode()), signal);
        }
        for bad in ["", "l", "l -1", "l x", "t 1", "t 1 1", "nonsense"] {
            assert_eq!(Signal::decode(bad), Signal::ReadLog, "{bad}");
        }
    }
}
