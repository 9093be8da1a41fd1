//! How many frames a socket may send: a burst, and then as many as nobody's fingers need.

use tokio::time::Instant;

/// Frames at once.
const BURST: f64 = 100.0;
/// Frames a second after that.
const PER_SECOND: f64 = 20.0;

/// A bucket that fills by itself.
pub(super) struct Flood {
    left: f64,
    at: Instant,
}

impl Flood {
    pub(super) fn new() -> Self {
        Self {
            left: BURST,
            at: Instant::now(),
        }
    }

    /// Takes one frame; `false` when there are too many.
    pub(super) fn admit(&mut self) -> bool {
        let now = Instant::now();
        self.left = (self.left + now.duration_since(self.at).as_secs_f64() * PER_SECOND).min(BURST);
        self.at = now;
        self.left -= 1.0;
        self.left >= 0.0
    }
}
