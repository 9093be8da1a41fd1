//! Whether the client is alive: the server pings it regularly, and gives it up after a minute without any frame.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How often the server sends a ping, as the contract says.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long a client may send nothing, pongs included, as the contract says.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// A ping.
    Ping,
    /// The end: the client has been silent for too long.
    Timeout,
}

/// When the last frame was received, and when the last ping was due.
pub(super) struct Heartbeat {
    received_at: Instant,
    pinged_at: Instant,
}

impl Heartbeat {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            received_at: now,
            pinged_at: now,
        }
    }

    /// Records that the client has sent a frame.
    pub(super) fn received(&mut self) {
        self.received_at = Instant::now();
    }

    /// Waits until a ping or the timeout is due.
    pub(super) async fn next(&mut self) -> Due {
        let (at, due) = self.due();
        sleep_until(at).await;
        self.pinged_at = Instant::now();
        due
    }

    fn due(&self) -> (Instant, Due) {
        let (ping, end) = (self.pinged_at + PING_INTERVAL, self.received_at + IDLE_TIMEOUT);
        if end <= ping {
            (end, Due::Timeout)
        } else {
            (ping, Due::Ping)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_client_is_pinged_regularly_and_given_up_after_a_minute() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        // A frame right after a ping: the minute ends between two pings.
        let mut heartbeat = Heartbeat {
            received_at: at(21),
            pinged_at: at(20),
        };
        for ping in [40, 60, 80] {
            assert_eq!(heartbeat.due(), (at(ping), Due::Ping));
            heartbeat.pinged_at = at(ping);
        }
        assert_eq!(heartbeat.due(), (at(81), Due::Timeout));
        heartbeat.received_at = at(79);
        assert_eq!(heartbeat.due(), (at(100), Due::Ping));
    }
}
