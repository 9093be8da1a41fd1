//! How often operators are told the same.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long it is until the next time.
const INTERVAL: Duration = Duration::from_secs(5 * 60);

/// Something that operators are told at most once in five minutes, by this process.
#[derive(Debug, Default)]
pub struct AlertPause(Mutex<Option<Instant>>);

impl AlertPause {
    /// Whether they are to be told now; the pause begins then.
    pub fn is_due(&self) -> bool {
        // Nothing panics while holding it.
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= INTERVAL);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}
