//! Why there is no private Postgres.

use std::path::PathBuf;

use thiserror::Error;

/// Why there is no private Postgres. Each message is one sentence that states the remedy.
#[derive(Debug, Error)]
pub enum DevDbError {
    /// No usable Postgres is installed.
    #[error(
        "no PostgreSQL 14 or newer was found; install it (Debian: apt-get install postgresql) or set CURA_PG_BIN to its bin folder"
    )]
    NotInstalled,
    /// A program that works with servers elsewhere is not installed.
    #[error(
        "no usable {program} was found; install the client programs of PostgreSQL (Debian: apt-get install postgresql-client) or set CURA_PG_BIN to their bin folder"
    )]
    NoClient {
        /// The program.
        program: &'static str,
    },
    /// The data was made by a version that is not installed.
    #[error(
        "the data in {data} was made by PostgreSQL {major}, which is not installed; install postgresql-{major} or move the folder away"
    )]
    OtherMajor {
        /// The data directory.
        data: PathBuf,
        /// The version that made it.
        major: u32,
    },
    /// The user that the server runs as cannot reach the data.
    #[error(
        "{folder} is closed to the user {user}, as which PostgreSQL runs; choose another DATA_DIR or open it (chmod o+x)"
    )]
    Closed {
        /// The folder that is closed.
        folder: PathBuf,
        /// The user.
        user: String,
    },
    /// A program failed.
    #[error("{program} failed; see {log}")]
    Failed {
        /// The program.
        program: &'static str,
        /// The log with its reason.
        log: PathBuf,
    },
    /// A file or process cannot be used.
    #[error("{what} cannot be used: {error}")]
    Io {
        /// The file or process.
        what: String,
        /// The reason.
        error: std::io::Error,
    },
    /// The server did not start in time.
    #[error("the private PostgreSQL did not start within a minute; see {log}")]
    StartTimeout {
        /// The server's log.
        log: PathBuf,
    },
    /// The supervisor gave up, with this message.
    #[error("{0}")]
    Supervisor(String),
}

/// Turns an I/O error about `what` into a [`DevDbError`].
pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> DevDbError {
    let what = what.into();
    move |error| DevDbError::Io { what, error }
}
