//! What operators are told when a backup was not made, verified or restored.

use cura_app::operate::OperateError as _;
use cura_app::operate::backup::OperateBackupError;
use cura_backup::{ArchiveFault, BackupError};

use super::super::failure::{Exit, Failure};

impl From<OperateBackupError> for Failure {
    fn from(error: OperateBackupError) -> Self {
        let (code, text) = (error.code(), error.to_string());
        let (exit, cure) = match error {
            OperateBackupError::Backup(error) => match of_backup(error) {
                Ok(told) => told,
                Err(failure) => return failure,
            },
            OperateBackupError::NewerMigration(_) => (Exit::No, "use the version that made it, or a newer one"),
            OperateBackupError::OtherMigration(_) => (Exit::No, "use the version that made it"),
            OperateBackupError::NotEmpty => (
                Exit::Failed,
                "name an empty database, or pass --replace, which deletes what is in this one",
            ),
            OperateBackupError::InUse(_) => (Exit::Failed, "stop servers and workers first"),
            OperateBackupError::Restoring => (Exit::Failed, "wait until it has ended"),
            OperateBackupError::Migrations(_) => (Exit::Failed, "see the log of Postgres, and run the command again"),
            OperateBackupError::Redis => (
                Exit::Away,
                "start it, or empty it and unset REDIS_URL; then run the command again",
            ),
            OperateBackupError::NoErasureList(_) => (
                Exit::No,
                "restore with the file store that was in use, or a copy of it; or accept it with --without-erasure-list",
            ),
            OperateBackupError::Differs(_) => (Exit::No, "make another backup, and see whether it differs, too"),
        };
        Self::new(exit, code, text).cure(cure)
    }
}

/// The exit code and the cure; or the whole failure, where others tell it.
fn of_backup(error: BackupError) -> Result<(Exit, &'static str), Failure> {
    Ok(match error {
        BackupError::Exists => (Exit::Failed, "name another file"),
        BackupError::Unwritable(_) => (Exit::Failed, "make room, or name a file that this user may write"),
        BackupError::Unreadable(_) => (Exit::Failed, "name a file that this user may read"),
        BackupError::Archive(fault) => match fault {
            ArchiveFault::NotABackup => (Exit::No, "name a file that `cura-admin backup` has made"),
            ArchiveFault::Truncated | ArchiveFault::Damaged(_) => (Exit::No, "copy it again, or take another one"),
            ArchiveFault::Newer(_) => (Exit::No, "use the version that made it, or a newer one"),
            ArchiveFault::Encrypted => (Exit::Failed, "pass --identity with the file of the secret key"),
            ArchiveFault::OtherIdentity => (Exit::Failed, "pass the secret key that belongs to its --recipient"),
        },
        BackupError::NoProgram(error) => {
            let text = error.to_string();
            return Err(Failure::of_text(Exit::Failed, "no_client_programs", &text));
        }
        BackupError::OtherClient { .. } => (
            Exit::Failed,
            "install the client programs of the server's version, or set CURA_PG_BIN to their bin folder",
        ),
        BackupError::OldClient { .. } => (
            Exit::Failed,
            "install the client programs that made the archive, or set CURA_PG_BIN to their bin folder",
        ),
        BackupError::OldServer { .. } => (Exit::Failed, "restore it on a server of that version, or a newer one"),
        BackupError::Url(_) => (Exit::Failed, "write it as postgres://user:password@host/database"),
        BackupError::Program { .. } | BackupError::Silent(_) => (Exit::Failed, "see the log of Postgres"),
        BackupError::Interrupted => (Exit::Failed, "run the command again"),
        BackupError::Store(error) => return Err(error.into()),
        BackupError::Files(_) => (Exit::Away, "see `cura-admin doctor`, and run the command again"),
        BackupError::NoFiles(_) => (
            Exit::No,
            "see whether DATA_DIR, or the bucket, is the one that servers use",
        ),
        BackupError::OtherBytes => (
            Exit::Failed,
            "pass --replace to put those of the archive in their place",
        ),
    })
}
