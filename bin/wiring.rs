//! The composition root: only this module decides which implementation of a clock, a database or a provider runs.

mod app;
mod board;
mod clock_and_entropy;
mod dependencies;
mod files;
mod probes;
mod push;
mod scanner;
mod server;
mod setting_faults;
mod workers;

pub use app::{answers, app, passwords};
#[cfg(feature = "board")]
pub use board::board_pool;
pub use board::{BOARD_POOL_SIZE, board_missing, listen_for_admins};
pub use clock_and_entropy::{clock, entropy};
pub use dependencies::{
    ai, ai_providers, database, database_for_migrations, no_live, reach_database, redis_limiter, redis_live,
    refuse_if_being_restored, wait_for_database, wait_for_dependencies,
};
pub use files::{file_store, file_store_if_there, place_of_files, report_files};
pub use probes::{Probes, listen_for_probes};
pub use push::{push_providers, report_push};
pub use scanner::{scanner, watch_scanner};
pub use server::{listen, serve};
pub use setting_faults::{faults_of_dev, faults_of_server, faults_of_worker};
pub use workers::workers;
