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
use thiserror::Error;

use super::{Files, ObjectState, OperateFilesError};
use crate::operate::{Act, OperateError as _};

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
    /// The file store does not have their bytes: nothing was done with them.
    pub without_bytes: u64,
}

/// Files that have been begun before one could not be, and why not.
#[derive(Debug, Error)]
#[error("{error}")]
pub struct Interrupted {
    /// They stay begun.
    pub rescanned: Rescanned,
    /// What has failed.
    pub error: StoreError,
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
    /// [`OperateFilesError`]; then nothing has changed. [`OperateFilesError::WithoutBytes`] if the file store says that it does not have
    /// the file: its scan would fail, and a clean file would not be given out any more. A file store that is away is no hindrance.
    pub async fn rescan(&self, id: FileId) -> Result<Rescan, OperateFilesError> {
        self.rescan_if(id, None).await
    }

    /// As [`Self::rescan`], but only if the file is one of `only`, where that is given: it may have become another one since it was listed.
    async fn rescan_if(&self, id: FileId, only: Option<FailedFiles>) -> Result<Rescan, OperateFilesError> {
        let act = Act::new("files.rescan").on(id);
        if let Err(error) = self.check_bytes(id).await {
            self.acts.failed(act, error.code()).await;
            return Err(error);
        }
        let now = self.acts.now();
        let begun = self.acts.transaction(act, async |connection, _| {
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

    /// Whether the bytes of a file are there to be scanned, asked before anything of it is locked.
    async fn check_bytes(&self, id: FileId) -> Result<(), OperateFilesError> {
        let found = self
            .acts
            .database()
            .connection(async |connection| scans::find_object(connection, id).await);
        let Some((status, key, size)) = found.await? else {
            return Err(OperateFilesError::NotFound(id));
        };
        if !matches!(status, FileStatus::Clean | FileStatus::Failed | FileStatus::Scanning) {
            return Ok(());
        }
        match self.object_state(&key, size).await {
            ObjectState::Missing | ObjectState::Damaged => Err(OperateFilesError::WithoutBytes(id)),
            ObjectState::Present | ObjectState::Unknown => Ok(()),
        }
    }

    /// Has files scanned again that could not be scanned. Each is either begun or untouched, whenever this ends.
    ///
    /// # Errors
    /// [`Interrupted`]: whatever was begun before stays begun.
    pub async fn rescan_failed(&self, which: FailedFiles) -> Result<Rescanned, Interrupted> {
        let mut rescanned = Rescanned::default();
        let ended = self.rescan_all(which, &mut rescanned).await;
        match ended {
            Ok(()) => Ok(rescanned),
            Err(error) => Err(Interrupted { rescanned, error }),
        }
    }

    async fn rescan_all(&self, which: FailedFiles, rescanned: &mut Rescanned) -> Result<(), StoreError> {
        let mut after = FileId(0);
        loop {
            let batch = self.acts.database().connection(async |connection| {
                scans::list_failed(connection, after, which.reason, which.since, BATCH).await
            });
            let batch = batch.await?;
            let Some(last) = batch.last() else {
                return Ok(());
            };
            after = *last;
            for id in batch {
                match self.rescan_if(id, Some(which)).await {
                    Ok(rescan) => rescanned.count(rescan),
                    Err(OperateFilesError::Store(error)) => return Err(error),
                    Err(OperateFilesError::WithoutBytes(_)) => rescanned.without_bytes += 1,
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
