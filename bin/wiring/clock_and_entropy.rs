//! Where time and randomness come from: everything else is given a clock and an entropy source.

use cura_domain::{Clock, Entropy};

/// The operating system's clock.
pub fn clock() -> Clock {
    #[expect(clippy::disallowed_methods, reason = "this is where the clock comes from")]
    Clock::new(chrono::Utc::now)
}

/// The operating system's random numbers.
pub fn entropy() -> Entropy {
    Entropy::new(|buffer| {
        #[expect(clippy::disallowed_methods, reason = "this is where randomness comes from")]
        rand::Rng::fill_bytes(&mut rand::rng(), buffer);
    })
}
