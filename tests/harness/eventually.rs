//! Waiting for a state instead of a time.

use std::time::{Duration, Instant};

/// The longest any state may take to come about, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// What `probe` finds, as soon as it finds something.
///
/// # Panics
/// When that takes too long; says `what` did not happen.
pub async fn eventually<T, F>(what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let until = Instant::now() + LIMIT;
    loop {
        // Decided before the look: after a pause of the whole machine there is one more.
        let last = Instant::now() >= until;
        if let Some(found) = probe().await {
            return found;
        }
        assert!(!last, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
