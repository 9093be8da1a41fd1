//! Whether anybody is there: the server asks now and then, and whoever says nothing for long is gone.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How often the server asks, as the contract says.
const PING_EVERY: Duration = Duration::from_secs(20);
/// After what silence a peer is gone, as the contract says.
const SILENCE: Duration = Duration::from_secs(60);

/// What it is time for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    /// To ask.
    Ask,
    /// To go: nobody is there.
    Gone,
}

/// When somebody was heard, and asked, last.
pub(super) struct Pulse {
    heard: Instant,
    asked: Instant,
}

impl Pulse {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { heard: now, asked: now }
    }

    /// Notes that somebody is there.
    pub(super) fn hear(&mut self) {
        self.heard = Instant::now();
    }

    /// Waits until it is time for something.
    pub(super) async fn next(&mut self) -> Beat {
        let (at, beat) = self.due();
        sleep_until(at).await;
        self.asked = Instant::now();
        beat
    }

    fn due(&self) -> (Instant, Beat) {
        let (ask, gone) = (self.asked + PING_EVERY, self.heard + SILENCE);
        if gone <= ask {
            (gone, Beat::Gone)
        } else {
            (ask, Beat::Ask)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_silent_is_asked_now_and_then_and_gone_after_a_minute_of_silence() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        // A word right after a question: the minute ends between two questions.
        let mut pulse = Pulse {
            heard: at(21),
            asked: at(20),
        };
        for ask in [40, 60, 80] {
            assert_eq!(pulse.due(), (at(ask), Beat::Ask));
            pulse.asked = at(ask);
        }
        assert_eq!(pulse.due(), (at(81), Beat::Gone));
        pulse.heard = at(79);
        assert_eq!(pulse.due(), (at(100), Beat::Ask));
    }
}
