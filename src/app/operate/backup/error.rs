//! Why a backup was not made, verified or restored.

use cura_backup::{ArchiveFault, BackupError};
use cura_store::StoreError;
use thiserror::Error;

use crate::operate::acts::OperateError;

/// Why it was not done.
#[derive(Debug, Error)]
pub enum OperateBackupError {
    /// The archive, a program of Postgres, Postgres itself or the file store.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The archive has migrations that this version does not have.
    #[error("the archive was made by a newer version: it has migration {0}, which this version does not have")]
    NewerMigration(i64),
    /// The archive has migrations of this version with another text.
    #[error("the archive is of another history: its migration {0} is not the one of this version")]
    OtherMigration(i64),
    /// There is something in the database.
    #[error("the database is not empty")]
    NotEmpty,
    /// Programs work with the database.
    #[error("the database is in use by {0}")]
    InUse(String),
    /// Another restore is under way.
    #[error("another restore is under way in this database")]
    Restoring,
    /// The migrations that the archive lacks could not be applied.
    #[error("the migrations that the archive lacks failed: {0}")]
    Migrations(String),
    /// Redis did not forget.
    #[error("Redis does not forget what it has of the database before")]
    Redis,
    /// The file store is not the one that was in use: it has no list of erasures.
    #[error("the file store lists nobody who was erased, and the backup knows of {0}: they would come back")]
    NoErasureList(i64),
    /// What was restored is not what the archive says.
    #[error("what was restored is not what was backed up: {0}")]
    Differs(String),
}

impl From<ArchiveFault> for OperateBackupError {
    fn from(fault: ArchiveFault) -> Self {
        Self::Backup(fault.into())
    }
}

impl From<StoreError> for OperateBackupError {
    fn from(error: StoreError) -> Self {
        Self::Backup(error.into())
    }
}

impl OperateError for OperateBackupError {
    fn code(&self) -> &'static str {
        match self {
            Self::Backup(error) => match error {
                BackupError::Exists => "file_exists",
                BackupError::Unwritable(_) => "not_writable",
                BackupError::Unreadable(_) => "not_readable",
                BackupError::Archive(fault) => match fault {
                    ArchiveFault::NotABackup => "not_a_backup",
                    ArchiveFault::Truncated => "archive_truncated",
                    ArchiveFault::Damaged(_) => "archive_damaged",
                    ArchiveFault::Newer(_) => "archive_newer",
                    ArchiveFault::Encrypted => "archive_encrypted",
                    ArchiveFault::OtherIdentity => "wrong_identity",
                },
                BackupError::NoProgram(_) => "no_client_programs",
                BackupError::OtherClient { .. } | BackupError::OldClient { .. } => "other_client_programs",
                BackupError::OldServer { .. } => "server_too_old",
                BackupError::Url(_) => "setting",
                BackupError::Program { .. } => "program_failed",
                BackupError::Silent(_) => "program_silent",
                BackupError::Interrupted => "interrupted",
                BackupError::Store(error) => error.code(),
                BackupError::Files(_) => "file_store",
                BackupError::NoFiles(_) => "files_missing",
                BackupError::OtherBytes => "other_bytes",
            },
            Self::NewerMigration(_) => "archive_newer",
            Self::OtherMigration(_) => "archive_of_other_history",
            Self::NotEmpty => "database_not_empty",
            Self::InUse(_) => "database_in_use",
            Self::Restoring => "restore_running",
            Self::Migrations(_) => "migrations_failed",
            Self::Redis => "redis_away",
            Self::NoErasureList(_) => "erasure_list_missing",
            Self::Differs(_) => "backup_differs",
        }
    }
}
