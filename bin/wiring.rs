//! The composition root: only this module decides which implementation of a clock, a database or a provider runs.

mod app;
mod dependencies;
mod server;
mod workers;

use std::path::Path;

use cura_domain::{Clock, Entropy};

pub use app::{app, care};
pub use dependencies::{
    ai, database, database_for_migrations, dependencies, redis_limiter, redis_live, wait_for_database,
};
pub use server::{listen, serve};
pub use workers::{manner, workers};

use crate::program::StartError;
use crate::settings::wrong;

/// The time.
pub fn clock() -> Clock {
    #[expect(clippy::disallowed_methods, reason = "this is where the clock comes from")]
    Clock::new(chrono::Utc::now)
}

/// The operating system's randomness.
pub fn entropy() -> Entropy {
    Entropy::new(|buffer| {
        #[expect(clippy::disallowed_methods, reason = "this is where randomness comes from")]
        rand::Rng::fill_bytes(&mut rand::rng(), buffer);
    })
}

fn read_file(name: &'static str, path: &Path) -> Result<String, StartError> {
    std::fs::read_to_string(path)
        .map_err(|error| wrong(name, format!("names a file that cannot be read: {error}")).into())
}
