//! How many frames a client may send: a burst, then a steady rate that no person types faster than.

use tokio::time::Instant;

/// Frames at once.
const BURST: f64 = 100.0;
/// Frames per second after the burst.
const PER_SECOND: f64 = 20.0;

/// A token bucket.
pub(super) struct FrameRate {
    tokens: f64,
    refilled_at: Instant,
}

impl FrameRate {
    pub(super) fn new() -> Self {
        Self {
            tokens: BURST,
            refilled_at: Instant::now(),
        }
    }

    /// Counts one frame. `false` if the client sends too many.
    pub(super) fn admit(&mut self) -> bool {
        let now = Instant::now();
        let refill = now.duration_since(self.refilled_at).as_secs_f64() * PER_SECOND;
        self.tokens = (self.tokens + refill).min(BURST);
        self.refilled_at = now;
        self.tokens -= 1.0;
        self.tokens >= 0.0
    }
}
