//! Scans a file: it is given out only when this job has made it `clean`.
//!
//! May run twice, even at once: the first end counts, and each run puts its pictures where no other does.

use std::sync::Arc;
use std::time::Duration;

use cura_domain::event::Event;
use cura_domain::file::{FileReason, PictureVariant};
use cura_domain::object_key::ObjectKey;
use cura_domain::{FileId, UserId};
use cura_inspection::{Encoding, Inspected, Picture};
use cura_queue::{DeleteObjects, EnqueueOptions, FailScan, JobError, Run, ScanUpload, StopReason};
use cura_store::scans::{NewPicture, NewText, UnscannedFile};
use cura_store::{StoreError, events, object_deletions, scans, users};
use tokio::io::AsyncWriteExt as _;

use super::examine::{Examined, NotNow, disk, examine, unnamed};
use crate::context::JobContext;
use crate::errors::snooze_while_slow;

/// The pause before a file is looked at again of which nothing is known, through no fault of its own.
const PAUSE: Duration = Duration::from_secs(10);
/// The same where others can be looked at: it must not keep them from it all the time.
const LONG_PAUSE: Duration = Duration::from_secs(5 * 60);
/// How long a file waits for that.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);
/// The same for one whose bytes are not in the file store, which answers: somebody may be restoring a backup, or it is the wrong store.
const PATIENCE_WITHOUT_BYTES: Duration = Duration::from_secs(10 * 60);
/// How long fetching, looking and putting may take: less than the job, of which no attempt is spent when a file store is slow.
const WORK_TIME: Duration = Duration::from_secs(14 * 60);

/// What has been made of a clean file.
struct Made {
    inspected: Inspected,
    text: Option<NewText>,
    /// Where its pictures are, and how large they are.
    pictures: Vec<(ObjectKey, i64)>,
}

/// How a scan ends.
enum End {
    Clean(Made),
    Infected(String),
    Failed(FileReason),
}

pub(crate) async fn run(context: Arc<JobContext>, job: ScanUpload, run: Run) -> Result<(), JobError> {
    tokio::select! {
        ended = scan_unless_over(context, job) => ended,
        // Its on-failure job ends the scan.
        () = until_cancelled(&run) => Err(JobError::Discard {
            reason: "it was cancelled".to_owned(),
        }),
    }
}

/// Waits until the job is cancelled.
async fn until_cancelled(run: &Run) {
    if run.cancelled().await != StopReason::Cancelled {
        std::future::pending().await
    }
}

async fn scan_unless_over(context: Arc<JobContext>, job: ScanUpload) -> Result<(), JobError> {
    let id = FileId(job.file_id);
    let found = context
        .database
        .connection(async |connection| scans::find_unscanned(connection, id).await);
    let Some(file) = found.await.map_err(snooze_while_slow)? else {
        return Ok(());
    };
    let work = tokio::time::timeout(WORK_TIME, scan(&context, id, &file)).await;
    let not_now = match work.unwrap_or_else(|_| Ok(Err(NotNow::of_file("it took too long"))))? {
        Ok(Some(end)) => return finish(&context, id, file.user, end).await,
        Ok(None) => return Ok(()),
        Err(not_now) => not_now,
    };
    let (patience, reason) = match not_now.is_without_bytes {
        true => (PATIENCE_WITHOUT_BYTES, FileReason::Unreadable),
        false => (PATIENCE, FileReason::ScannerUnavailable),
    };
    let is_over = context
        .database
        .connection(async |connection| scans::postpone(connection, id, patience).await);
    if is_over.await.map_err(snooze_while_slow)? {
        return finish(&context, id, file.user, End::Failed(reason)).await;
    }
    Err(JobError::Snooze {
        after: if not_now.is_about_file { LONG_PAUSE } else { PAUSE },
        reason: not_now.reason,
    })
}

/// How the scan of a file ends. `None` if another run has ended it, or the file is gone.
async fn scan(context: &JobContext, id: FileId, file: &UnscannedFile) -> Result<Result<Option<End>, NotNow>, JobError> {
    Ok(match examine(context, file).await {
        Ok(Examined::Clean(inspected)) => {
            let made = keep_pictures(context, id, file, *inspected).await?;
            made.map(|made| made.map(End::Clean))
        }
        Ok(Examined::Infected(signature)) => Ok(Some(End::Infected(signature))),
        Ok(Examined::Failed(reason)) => Ok(Some(End::Failed(reason))),
        Err(not_now) => Err(not_now),
    })
}

/// Ends the scan of a file whose job was discarded: its worker has died each time.
pub(crate) async fn fail(context: Arc<JobContext>, job: FailScan, _: Run) -> Result<(), JobError> {
    let id = FileId(job.file_id);
    let found = context.database.connection(async |connection| {
        // An operator may have had its scan retried, or begun another one.
        let round = cura_queue::present_period(connection, ScanUpload::ROUND).await?;
        let keys = ScanUpload::keys_at_work(id, round);
        if !cura_queue::list_unfinished::<ScanUpload>(connection, &keys)
            .await?
            .is_empty()
        {
            return Ok(None);
        }
        scans::find_unscanned(connection, id).await
    });
    match found.await.map_err(snooze_while_slow)? {
        Some(file) => finish(&context, id, file.user, End::Failed(FileReason::Unreadable)).await,
        None => Ok(()),
    }
}

async fn finish(context: &JobContext, id: FileId, user: UserId, end: End) -> Result<(), JobError> {
    let now = context.clock.now_micros();
    let ended = context.database.transaction(async |connection| {
        if users::hold(connection, user).await?.is_none() {
            return Ok(None);
        }
        let is_ended = match &end {
            End::Clean(made) => {
                let keys: Vec<ObjectKey> = made.pictures.iter().map(|(key, _)| key.clone()).collect();
                scans::mark_clean(connection, id, &made.inspected.findings, &keys, made.text.as_ref(), now).await?
            }
            End::Infected(signature) => {
                let is_marked = scans::mark_infected(connection, id, signature, now).await?;
                if is_marked {
                    // Also where an earlier scan of this file has had its job.
                    let delete = DeleteObjects::of_scan(id);
                    cura_queue::enqueue_or_renew(connection, &delete, EnqueueOptions::default()).await?;
                }
                is_marked
            }
            End::Failed(reason) => scans::mark_failed(connection, id, *reason, now).await?,
        };
        if !is_ended {
            return Ok(None);
        }
        cura_answers::make_ready_after_scan(connection, user, id).await?;
        Ok::<_, StoreError>(Some(events::append(connection, user, &[Event::Upload(id)], now).await?))
    });
    let ended = ended.await.map_err(snooze_while_slow)?;
    let Some(seq) = ended else {
        return match end {
            End::Clean(made) => {
                forget_pictures(context, id, user, &made.pictures).await?;
                look_again(context, id).await
            }
            End::Infected(_) | End::Failed(_) => Ok(()),
        };
    };
    context.live.publish_event(user, seq).await;
    match end {
        End::Clean(made) => tracing::debug!(file_id = %id, findings = made.inspected.findings.len(), "a file is clean"),
        End::Infected(_) => tracing::warn!(file_id = %id, user_id = %user, "a file is infected; its bytes are deleted"),
        End::Failed(reason) => tracing::info!(file_id = %id, reason = reason.as_str(), "a file could not be scanned"),
    }
    Ok(())
}

/// Of two runs at once, each may have taken the places of the other's pictures: then neither has ended the scan.
async fn look_again(context: &JobContext, id: FileId) -> Result<(), JobError> {
    let found = context
        .database
        .connection(async |connection| scans::find_unscanned(connection, id).await);
    match found.await.map_err(snooze_while_slow)? {
        Some(_) => Err(JobError::Snooze {
            after: PAUSE,
            reason: "another run has taken the places of its pictures".to_owned(),
        }),
        None => Ok(()),
    }
}

/// Puts the pictures of a clean file into the file store. `None` if another run has ended its scan, or it is gone.
async fn keep_pictures(
    context: &JobContext,
    id: FileId,
    file: &UnscannedFile,
    mut inspected: Inspected,
) -> Result<Result<Option<Made>, NotNow>, JobError> {
    let text = text_of(&mut inspected);
    let mut pictures = Vec::new();
    let made = [
        (PictureVariant::Model, inspected.large.take()),
        (PictureVariant::Thumbnail, inspected.small.take()),
    ];
    for (variant, picture) in made {
        let Some(picture) = picture else {
            continue;
        };
        let size = i64::try_from(picture.bytes.len()).unwrap_or(i64::MAX);
        let Some(key) = name_picture(context, id, file.user, variant, &picture, size).await? else {
            forget_pictures(context, id, file.user, &pictures).await?;
            return Ok(Ok(None));
        };
        if let Err(not_now) = put(context, &key, picture).await {
            return Ok(Err(not_now));
        }
        pictures.push((key, size));
    }
    Ok(Ok(Some(Made {
        inspected,
        text,
        pictures,
    })))
}

async fn name_picture(
    context: &JobContext,
    id: FileId,
    user: UserId,
    variant: PictureVariant,
    picture: &Picture,
    size: i64,
) -> Result<Option<ObjectKey>, JobError> {
    let extension = match picture.encoding {
        Encoding::Jpeg => "jpg",
        Encoding::Png => "png",
    };
    let fresh = ObjectKey::new(user, context.entropy.bytes(), extension);
    let fresh = fresh.map_err(|error| JobError::Discard {
        reason: error.to_string(),
    })?;
    let new = NewPicture {
        variant,
        key: &fresh,
        media_type: picture.encoding.media_type(),
        width: i32::try_from(picture.width).unwrap_or(i32::MAX),
        height: i32::try_from(picture.height).unwrap_or(i32::MAX),
        size,
    };
    let named = context
        .database
        .transaction(async |connection| scans::name_picture(connection, id, new).await);
    let is_named = named.await.map_err(snooze_while_slow)?;
    Ok(is_named.then_some(fresh))
}

async fn put(context: &JobContext, key: &ObjectKey, picture: Picture) -> Result<(), NotNow> {
    let mut file = unnamed(context).await.map_err(disk)?;
    file.write_all(&picture.bytes).await.map_err(disk)?;
    file.flush().await.map_err(disk)?;
    let (size, media_type) = (picture.bytes.len() as u64, picture.encoding.media_type());
    let put = context.files.put(key, file.into_std().await, size, media_type).await;
    put.map_err(|error| {
        tracing::warn!(store = context.files.name(), %error, "the file store did not take a picture of a file");
        NotNow::new("the file store does not take its pictures")
    })
}

/// The text of a document, as it is stored; empty where nothing is readable but the number of pages. `None` for a picture, and where
/// nothing at all is known.
fn text_of(inspected: &mut Inspected) -> Option<NewText> {
    let text = std::mem::take(&mut inspected.text);
    let has_text = text.pages.iter().any(|page| !page.trim().is_empty());
    if !has_text && text.page_count.is_none() {
        return None;
    }
    Some(NewText {
        content: if has_text {
            // Without what Postgres does not take.
            text.pages.join("\u{c}").replace('\0', "")
        } else {
            String::new()
        },
        page_count: text.page_count.and_then(|count| i32::try_from(count).ok()),
        is_cut: text.is_cut,
    })
}

/// Has pictures deleted that were put while their file went, at once: when it went, they were listed as still being put.
async fn forget_pictures(
    context: &JobContext,
    id: FileId,
    user: UserId,
    pictures: &[(ObjectKey, i64)],
) -> Result<(), JobError> {
    let listed = context.database.transaction(async |connection| {
        for (key, size) in pictures {
            object_deletions::list_unnamed(connection, user, key, *size, Duration::ZERO).await?;
        }
        Ok::<_, StoreError>(cura_queue::enqueue(connection, &DeleteObjects::of_scan(id)).await?)
    });
    listed.await.map(drop).map_err(snooze_while_slow)
}
