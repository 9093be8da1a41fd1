//! Waits for a state, never for a time.

use std::time::{Duration, Instant};

/// The longest wait for any state, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Repeats `probe` until it returns `Some`, and returns the value.
///
/// # Panics
/// After [`LIMIT`], with `what` in the message.
pub async fn eventually<T, F>(what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let until = Instant::now() + LIMIT;
    loop {
        // Decided before the probe, so that a paused machine probes once more.
        let last = Instant::now() >= until;
        if let Some(found) = probe().await {
            return found;
        }
        assert!(!last, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
