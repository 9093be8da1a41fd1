//! Why no backup was made, or an archive was refused. Neither keys of objects nor words of people are in it.

use std::io;

use cura_devdb::DevDbError;
use cura_providers::files::FileStoreError;
use cura_store::StoreError;
use thiserror::Error;

/// Why a backup was not made, or not restored.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The target exists already.
    #[error("there is a file of this name already")]
    Exists,
    /// The target cannot be written.
    #[error("the archive cannot be written: {0}")]
    Unwritable(io::Error),
    /// The archive cannot be read.
    #[error("the archive cannot be read: {0}")]
    Unreadable(io::Error),
    /// The archive is not one that can be used.
    #[error(transparent)]
    Archive(#[from] ArchiveFault),
    /// `pg_dump` or `pg_restore` is not installed.
    #[error(transparent)]
    NoProgram(#[from] DevDbError),
    /// The client's programs do not go with the server.
    #[error("{program} is of PostgreSQL {client}, and does not go with a server of {server}")]
    OtherClient {
        /// The program.
        program: &'static str,
        /// Its major version.
        client: u32,
        /// The major version of the server.
        server: u32,
    },
    /// The client's programs are older than those that made the archive.
    #[error("pg_restore is of PostgreSQL {client}, and the archive was made by pg_dump of {archive}")]
    OldClient {
        /// The major version of `pg_restore`.
        client: u32,
        /// That of the `pg_dump` that made the archive.
        archive: u32,
    },
    /// The server is older than the one that the archive is of.
    #[error("the server is PostgreSQL {server}, and the archive is of {archive}")]
    OldServer {
        /// The major version of the server.
        server: u32,
        /// That of the server that the archive is of.
        archive: u32,
    },
    /// `DATABASE_URL` cannot be told to a program of Postgres.
    #[error("DATABASE_URL cannot be given to {0}")]
    Url(&'static str),
    /// `pg_dump` or `pg_restore` failed.
    #[error("{program} failed: {said}")]
    Program {
        /// The program.
        program: &'static str,
        /// What it said first, without values of rows.
        said: String,
    },
    /// `pg_dump` gave nothing for so long that it was ended.
    #[error("{0} did nothing for ten minutes and was ended")]
    Silent(&'static str),
    /// A signal has ended it.
    #[error("it was interrupted")]
    Interrupted,
    /// Postgres failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file store failed.
    #[error(transparent)]
    Files(#[from] FileStoreError),
    /// Not one of the objects that the database names is in the file store.
    #[error("none of the {0} files that the database names is in the file store")]
    NoFiles(u64),
    /// The file store has another object under the key of one of the archive.
    #[error("the file store has other bytes under the key of an object of the archive")]
    OtherBytes,
}

/// Why an archive is refused. Nothing was touched.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ArchiveFault {
    /// It is no archive of ours.
    #[error("it is not a backup of Cura")]
    NotABackup,
    /// It ends too early.
    #[error("the archive is cut short")]
    Truncated,
    /// It is not what was written.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// A newer version has made it.
    #[error("the archive was made by a newer version: {0}")]
    Newer(String),
    /// It is encrypted, and no identity was given.
    #[error("the archive is encrypted")]
    Encrypted,
    /// It is encrypted for somebody else.
    #[error("the archive is encrypted for another identity")]
    OtherIdentity,
}

impl ArchiveFault {
    pub(crate) fn damaged(what: impl Into<String>) -> BackupError {
        Self::Damaged(what.into()).into()
    }
}

/// What an error says that occurred while an archive was read.
pub(crate) fn of_reading(error: io::Error) -> BackupError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ArchiveFault::Truncated.into(),
        // Of the formats, not of the disk.
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
            ArchiveFault::damaged("its bytes are not what was written")
        }
        _ => BackupError::Unreadable(error),
    }
}
