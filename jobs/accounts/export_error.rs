//! Why an archive could not be made, and what that means for its job.

use std::io;
use std::time::Duration;

use chrono::TimeDelta;
use cura_providers::files::FileStoreError;
use cura_queue::{DeleteObjects, JobError};
use cura_store::{StoreError, exports};

use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;

/// The pause before an archive is begun whose file store was away before anything was read.
const PAUSE_BEFORE: Duration = Duration::from_secs(10);
/// The pause before an archive is made again, all of it, because the file store went away meanwhile.
const PAUSE_AMID: Duration = Duration::from_secs(60);
/// For how long no other archive is made of what the file store has refused.
const REFUSED_FOR: TimeDelta = TimeDelta::minutes(15);

/// Why an archive could not be made.
pub(super) enum ExportError {
    /// The database has failed.
    Store(StoreError),
    /// The file store has.
    Files(FileStoreError),
    /// The archive could not be written to the disk.
    Disk(io::Error),
    /// The packer has failed, and returns why.
    PackerGone,
    /// The export was deleted meanwhile, or another run has finished it.
    Unwanted,
}

impl From<StoreError> for ExportError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<FileStoreError> for ExportError {
    fn from(error: FileStoreError) -> Self {
        Self::Files(error)
    }
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// What becomes of the job. That something is away spends no attempt: the export waits until its hour is over.
pub(super) async fn end(context: &JobContext, id: i64, error: ExportError) -> Result<(), JobError> {
    Err(match error {
        ExportError::Unwanted => {
            tracing::info!(export_id = id, "export ended: it is no longer wanted");
            return Ok(());
        }
        ExportError::Store(error) => snooze_if_unavailable(error),
        ExportError::Files(error @ FileStoreError::Refused(_)) => refuse(context, id, &error).await?,
        ExportError::Files(error) => {
            report(context, &error);
            snooze(PAUSE_AMID, &error)
        }
        ExportError::Disk(error) => retry(format!("the archive's file failed: {error}")),
        ExportError::PackerGone => retry("the packer ended before its time".to_owned()),
    })
}

/// Before anything is read. A store that refuses a check refuses everything, until an operator has changed that.
pub(super) fn wait_for_store(context: &JobContext, error: &FileStoreError) -> JobError {
    report(context, error);
    snooze(PAUSE_BEFORE, error)
}

/// Ends an export that the file store will refuse again: its person is told so for a while, instead of having it packed over and over.
async fn refuse(context: &JobContext, id: i64, error: &FileStoreError) -> Result<JobError, JobError> {
    report(context, error);
    let now = context.clock.now_micros();
    let refused = context.database.transaction(async |connection| {
        exports::refuse(connection, id, now + REFUSED_FOR).await?;
        cura_queue::enqueue(connection, &DeleteObjects::of_export(now.timestamp_micros())).await?;
        Ok::<_, StoreError>(())
    });
    refused.await.map_err(snooze_if_unavailable)?;
    Ok(JobError::Discard {
        reason: error.to_string(),
    })
}

fn report(context: &JobContext, error: &FileStoreError) {
    let store = context.files.name();
    if matches!(error, FileStoreError::Refused(_)) {
        tracing::error!(store, %error, "the file store refuses an archive: check STORAGE_PROVIDER and what belongs to it");
    } else {
        tracing::warn!(store, %error, "the file store is away; an archive waits for it");
    }
}

fn snooze(after: Duration, error: &FileStoreError) -> JobError {
    JobError::Snooze {
        after,
        reason: error.to_string(),
    }
}

fn retry(reason: String) -> JobError {
    JobError::Retry { after: None, reason }
}
