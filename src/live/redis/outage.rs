//! One warning when Redis can no longer be used, and one line when it can again, however many calls fail meanwhile.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::trouble::RedisTrouble;

/// An outage is over when nothing has failed for so long: some calls may work while others fail.
const SETTLED: Duration = Duration::from_secs(3);

/// Whether Redis can be used.
#[derive(Default)]
pub(super) struct Outage(Mutex<State>);

#[derive(Default, Clone, Copy)]
enum State {
    /// The start waits for Redis, and says what is wrong.
    #[default]
    NotYetUsed,
    Used,
    LastFailure(Instant),
}

impl Outage {
    /// Notes a call that failed.
    pub(super) fn failed(&self, trouble: &RedisTrouble) {
        let now = State::LastFailure(Instant::now());
        let before = {
            let mut state = self.lock();
            match *state {
                State::NotYetUsed => return,
                before => {
                    *state = now;
                    before
                }
            }
        };
        if matches!(before, State::Used) {
            tracing::warn!(
                "REDIS_URL names a Redis {trouble}; until then answers come from Postgres as they are saved"
            );
        }
    }

    /// Notes a call that worked.
    pub(super) fn worked(&self) {
        let is_over = {
            let mut state = self.lock();
            match *state {
                State::Used => return,
                State::LastFailure(at) if at.elapsed() < SETTLED => return,
                before => {
                    *state = State::Used;
                    matches!(before, State::LastFailure(_))
                }
            }
        };
        if is_over {
            tracing::info!("Redis can be used again; answers come word by word");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
