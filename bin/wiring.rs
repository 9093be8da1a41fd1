//! The composition root: only this module decides which implementation of a clock, a database or a provider runs.

mod app;
mod dependencies;
mod server;
mod sources;
mod workers;

pub use app::{answers, app};
pub use dependencies::{
    ai, database, database_for_migrations, redis_limiter, redis_live, wait_for_database, wait_for_dependencies,
};
pub use server::{listen, serve};
pub use sources::{clock, entropy};
pub use workers::workers;
