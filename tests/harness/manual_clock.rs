//! A clock that a test sets ahead or back.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::TimeDelta;
use cura_domain::Clock;

/// The real time, and as many seconds as a test wants. Clones are the same clock.
#[derive(Debug, Clone, Default)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// The clock for what is tested.
    pub fn clock(&self) -> Clock {
        let (real, ahead) = (cura_bin::wiring::clock(), Arc::clone(&self.0));
        Clock::new(move || real.now() + TimeDelta::seconds(ahead.load(Ordering::SeqCst)))
    }

    /// Sets it ahead by these seconds; back by negative ones.
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}
