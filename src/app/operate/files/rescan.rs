//! Scanning files again: what was found in one and made of it is forgotten, and it is given out to nobody until its scan has ended.
//!
//! Its links name the file, and not what was made of it: while it is scanned they lead nowhere, and once it is clean those that have not
//! expired lead to it again, and to its new thumbnail.

use chrono::{DateTime, Utc};
use cura_domain::event::Event;
use cura_domain::file::{FileReason, FileStatus};
use cura_domain::{FileId, UserId};
use cura_queue::{DeleteObjects, EnqueueOptions, Enqueued, JobOwner, ScanUpload};
use cura_store::{PgConnection, StoreError, events, exports, files, scans, users};
use serde::Serialize;

use super::{Files, OperateFilesError};

/// How many files are read at a time that could not be scanned.
const BATCH: i64 = 200;
/// How many keys are tried for a new job: those of jobs that wait or run are taken, and of one file there are a few at most.
const KEYS: i64 = 16;

/// What came of the wish to scan a file again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rescan {
    /// It is scanned anew.
    Enqueued,
    /// It waits for its scan, and its job is there.
    AlreadyScanning,
}

/// How many files are scanned again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Rescanned {
    /// Scanned anew from now on.
    pub enqueued: u64,
    /// They wait for their scans, which are ready now.
    pub already_scanning: u64,
}

impl Rescanned {
    /// One more.
    pub const fn count(&mut self, rescan: Rescan) {
        match rescan {
            Rescan::Enqueued => self.enqueued += 1,
            Rescan::AlreadyScanning => self.already_scanning += 1,
        }
    }
}

/// Files that could not be scanned.
#[derive(Debug, Clone, Copy)]
pub struct FailedFiles {
    /// For this reason; `None` is any.
    pub reason: Option<FileReason>,
    /// Since then, or later.
    pub since: DateTime<Utc>,
}

impl Files {
    /// Has a file scanned again that is clean or could not be scanned. One that waits for its scan gets a job if it has none.
    ///
    /// # Errors
    /// [`OperateFilesError`]; then nothing has changed.
    pub async fn rescan(&self, id: FileId) -> Result<Rescan, OperateFilesError> {
        self.rescan_if(id, None).await
    }

    /// As [`Self::rescan`], but only if the file is one of `only`, where that is given: it may have become another one since it was listed.
    async fn rescan_if(&self, id: FileId, only: Option<FailedFiles>) -> Result<Rescan, OperateFilesError> {
        let now = self.clock.now_micros();
        let begun = self.database.transaction(async |connection| {
            let found = files::find_owner(connection, id).await?;
            let (user, _) = found.ok_or(OperateFilesError::NotFound(id))?;
            users::hold(connection, user)
                .await?
                .ok_or(OperateFilesError::NotFound(id))?;
            // Many files must not keep those waiting that people upload meanwhile.
            let priority = if only.is_some() { -1 } else { 0 };
            let status = scans::lock_status(connection, user, id).await?;
            match status {
                Some(status) if only.is_some() && status != FileStatus::Failed => Err(OperateFilesError::NotFound(id)),
                None => Err(OperateFilesError::NotFound(id)),
                Some(FileStatus::Storing) => Err(OperateFilesError::Storing(id)),
                Some(FileStatus::Infected) => Err(OperateFilesError::Infected(id)),
                Some(FileStatus::Scanning) => Ok((user, ensure_job(connection, user, id, priority).await?, None)),
                Some(FileStatus::Clean | FileStatus::Failed) => {
                    scans::begin_again(connection, id, now).await?;
                    if status == Some(FileStatus::Clean) {
                        // An archive may contain it, and must not once it is not given out.
                        exports::delete(connection, user).await?;
                    }
                    enqueue_anew(connection, user, id, priority).await?;
                    let pictures = DeleteObjects::of_scan(id);
                    cura_queue::enqueue_or_renew(connection, &pictures, EnqueueOptions::default())
                        .await
                        .map_err(StoreError::from)?;
                    let seq = events::append(connection, user, &[Event::Upload(id)], now).await?;
                    Ok((user, Rescan::Enqueued, Some(seq)))
                }
            }
        });
        let (user, rescan, seq) = begun.await?;
        if let (Some(live), Some(seq)) = (&self.live, seq) {
            live.publish_event(user, seq).await;
        }
        Ok(rescan)
    }

    /// Has files scanned again that could not be scanned. Each is either begun or untouched, whenever this ends.
    ///
    /// # Errors
    /// Whatever was begun before stays begun.
    pub async fn rescan_failed(&self, which: FailedFiles) -> Result<Rescanned, StoreError> {
        let (mut rescanned, mut after) = (Rescanned::default(), FileId(0));
        loop {
            let batch = self.database.connection(async |connection| {
                scans::list_failed(connection, after, which.reason, which.since, BATCH).await
            });
            let batch = batch.await?;
            let Some(last) = batch.last() else {
                return Ok(rescanned);
            };
            after = *last;
            for id in batch {
                match self.rescan_if(id, Some(which)).await {
                    Ok(rescan) => rescanned.count(rescan),
                    Err(OperateFilesError::Store(error)) => return Err(error),
                    // It has become another one meanwhile, or is gone.
                    Err(_) => {}
                }
            }
        }
    }
}

/// Makes the job of a file ready that waits for its scan, or enqueues one.
async fn ensure_job(
    connection: &mut PgConnection,
    user: UserId,
    id: FileId,
    priority: i32,
) -> Result<Rescan, StoreError> {
    let round = cura_queue::present_period(connection, ScanUpload::ROUND).await?;
    let keys = ScanUpload::keys_at_work(id, round);
    let at_work = cura_queue::list_unfinished::<ScanUpload>(connection, &keys).await?;
    if at_work.is_empty() {
        enqueue_anew(connection, user, id, priority).await?;
        return Ok(Rescan::Enqueued);
    }
    cura_queue::make_ready::<ScanUpload>(connection, &at_work).await?;
    Ok(Rescan::AlreadyScanning)
}

/// Enqueues a job of its own for a file: one that waits or runs may find that the earlier scan has ended, and do nothing. Its key is one
/// of those by which the job that looks for overdue scans knows that there is one.
async fn enqueue_anew(
    connection: &mut PgConnection,
    user: UserId,
    id: FileId,
    priority: i32,
) -> Result<(), StoreError> {
    let present = cura_queue::present_period(connection, ScanUpload::ROUND).await?;
    for round in (present - KEYS..=present).rev() {
        let job = ScanUpload { file_id: id.0, round };
        let options = EnqueueOptions {
            owner: Some(JobOwner::user(user)),
            priority,
            ..EnqueueOptions::default()
        };
        if let Enqueued::New(_) = cura_queue::enqueue_or_renew(connection, &job, options).await? {
            return Ok(());
        }
    }
    tracing::warn!(file_id = %id, "a file that is to be scanned again has many jobs; none is added");
    Ok(())
}
