//! Backups, for operators: made, verified and restored.
//!
//! A restore touches nothing before the whole archive was read and found to be what was written. From then on the database says that a
//! restore is unfinished, and no program works with it, until one transaction makes it safe and says that it is whole. Killed in
//! between, the command can be run again.

mod error;
mod objects;
mod replay;
mod restore;
mod verify;

use chrono::Utc;
use cura_backup::{Manifest, Recipient, Source, Target};
use cura_store::backups::{self, Made};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

pub use error::OperateBackupError;
pub use objects::RestoredObjects;
pub use restore::{Allowed, Checked, Restore, Restored};
pub use verify::{Scratch, Verified, verify};

use super::acts::{Act, Acts, OperateError as _};

/// An archive that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MadeBackup {
    /// The moment that it is of.
    pub taken_at: chrono::DateTime<Utc>,
    /// In bytes.
    pub size: u64,
    /// Whether it is encrypted.
    pub is_encrypted: bool,
    /// How many tables it has.
    pub tables: usize,
    /// How many rows they have.
    pub rows: i64,
    /// The objects that the database names.
    pub objects: cura_backup::ObjectCounts,
}

/// Makes a backup, and records it. What is written stays nowhere if it is not whole.
///
/// # Errors
/// [`OperateBackupError`]
pub async fn make(
    acts: &Acts,
    source: Source<'_>,
    target: Target,
    recipient: Option<Recipient>,
    stop: &CancellationToken,
) -> Result<MadeBackup, OperateBackupError> {
    let is_encrypted = recipient.is_some();
    let act = Act::new("backup.make").with("encrypted", is_encrypted);
    let made = match cura_backup::make(source, target, recipient, stop).await {
        Ok((manifest, size)) => MadeBackup::of(manifest, size, is_encrypted),
        Err(error) => {
            let error = OperateBackupError::from(error);
            acts.failed(act, error.code()).await;
            return Err(error);
        }
    };
    let row = Made {
        taken_at: made.taken_at,
        finished_at: acts.now(),
        size: i64::try_from(made.size).unwrap_or(i64::MAX),
        is_encrypted,
        is_scheduled: false,
    };
    let act = act.with("size", made.size);
    let recorded = acts.transaction(act, async |connection, _| backups::insert(connection, &row).await);
    if let Err(error) = recorded.await {
        // The archive is whole all the same.
        tracing::warn!(%error, "a backup could not be recorded");
    }
    Ok(made)
}

impl MadeBackup {
    fn of(manifest: Manifest, size: u64, is_encrypted: bool) -> Self {
        Self {
            taken_at: manifest.taken_at,
            size,
            is_encrypted,
            tables: manifest.tables.len(),
            rows: manifest.tables.iter().map(|table| table.rows).sum(),
            objects: manifest.objects,
        }
    }
}
