//! A private Postgres: started when the first process needs it, shared by all processes that use it, stopped when the last
//! one has ended.
//!
//! Every process that uses the server holds a shared file lock, which the kernel releases even after SIGKILL. A small
//! *supervisor* process (the same executable with a hidden argument) owns the server and watches the lock. Every user of the
//! server starts a new supervisor when there is none. So the server recovers whichever of these processes is killed, and
//! keeps what was committed.

mod binaries;
mod cluster;
mod error;
mod private_postgres;
mod profile;
mod server_user;
mod state_dir;
mod supervisor;
mod supervisor_command;
mod supervisor_watch;

pub use binaries::ClientProgram;
pub use error::DevDbError;
pub use private_postgres::{PrivatePostgres, default_data_root};
pub use profile::Profile;
pub use supervisor_command::run_supervisor_if_asked;
