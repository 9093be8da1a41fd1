//! Packs everything a user has into an archive, which the file store keeps: a file of JSON lines for each exported table, the user's files,
//! and a manifest.
//!
//! May run twice, even at once: each run puts its archive in a place of its own, which a row names before, and the run that has named
//! its place last finishes the export, if that is still wanted.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use cura_domain::event::Event;
use cura_domain::export::{Archive, ReadyExport};
use cura_domain::object_key::ObjectKey;
use cura_domain::{FileId, UserId};
use cura_providers::files::FileStoreError;
use cura_queue::{DeleteObjects, ExportAccount, JobError, Run};
use cura_store::owners::{self, AccountOwner};
use cura_store::personal_data::{self, Export, TABLES};
use cura_store::{PgConnection, StoreError, events, exported_files, exports, object_deletions, users, with_deadline};
use futures_util::TryStreamExt as _;
use serde_json::json;
use tokio::sync::mpsc;

use super::archive::{self, ArchivePart, Packed};
use super::exported_objects::{ObjectsError, send_objects};
use crate::context::JobContext;
use crate::errors::{retry_on_store_error, snooze_if_unavailable};
use crate::words::unless_stopped;

/// How long an archive is kept.
const TTL: TimeDelta = TimeDelta::hours(1);
/// How many bytes of lines are handed to the packer at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// How many parts wait for the packer at most: lines as above, or 64 KiB of a file.
const WAITING_PARTS: usize = 4;
/// How many ids of files are read at once.
const IDS: i64 = 1000;
/// The pause before an archive is tried again that the file store cannot keep at the moment.
pub(super) const STORE_PAUSE: Duration = Duration::from_secs(10);

/// Why an export failed.
enum ExportError {
    Store(StoreError),
    Objects(ObjectsError),
    File(io::Error),
}

impl From<StoreError> for ExportError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl From<ExportError> for JobError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Store(error) => retry_on_store_error(error),
            ExportError::Objects(error) => error.into(),
            ExportError::File(error) => Self::Retry {
                after: None,
                reason: format!("the archive's file failed: {error}"),
            },
        }
    }
}

pub(crate) async fn run(context: Arc<JobContext>, job: ExportAccount, run: Run) -> Result<(), JobError> {
    let exported = unless_stopped(&run, export(&context, job.export_id));
    exported.await.map(|_| ())
}

async fn export(context: &JobContext, id: i64) -> Result<(), JobError> {
    let wanted = context
        .database
        .connection(async |connection| exports::find_pending(connection, id).await);
    let Some(user) = wanted.await.map_err(snooze_if_unavailable)? else {
        tracing::info!(export_id = id, "nothing to export: it is ready, or no longer wanted");
        return Ok(());
    };
    // Before anything is read: what it does not keep would be packed in vain.
    context.files.check().await.map_err(|error| {
        report(context, &error);
        JobError::Snooze {
            after: STORE_PAUSE,
            reason: error.to_string(),
        }
    })?;
    let packed = match pack(context, id, user).await {
        Err(ExportError::Objects(ObjectsError::Unwanted)) => {
            tracing::info!(export_id = id, "export ended: it is no longer wanted");
            return Ok(());
        }
        packed => packed?,
    };
    let key = ObjectKey::new(user, context.entropy.bytes(), "zip").map_err(|error| JobError::Discard {
        reason: error.to_string(),
    })?;
    match keep(context, id, user, &key, packed).await? {
        Some(seq) => context.live.publish_event(user, seq).await,
        None => tracing::info!(
            export_id = id,
            "archive discarded: another run was faster, or it is no longer wanted"
        ),
    }
    Ok(())
}

async fn pack(context: &JobContext, export: i64, user: UserId) -> Result<Packed, ExportError> {
    let (sender, receiver) = mpsc::channel(WAITING_PARTS);
    let about = json!({ "user_id": user.0, "created_at": context.clock.now() });
    let folder = context.scans.folder.clone();
    // Compressing would block an async thread.
    let packing = tokio::task::spawn_blocking(move || archive::pack(receiver, about, &folder));
    let read = read(context, export, user, sender).await;
    let packed = packing.await.map_err(io::Error::other)?;
    read?;
    Ok(packed?)
}

/// Reads everything, and sends it. The sender is dropped at the end.
async fn read(
    context: &JobContext,
    export: i64,
    user: UserId,
    parts: mpsc::Sender<ArchivePart>,
) -> Result<(), ExportError> {
    let files = read_tables(context, user, &parts).await?;
    // After the snapshot, which does not last as long as the file store may take.
    send_objects(context, (export, user), files, &parts)
        .await
        .map_err(ExportError::Objects)
}

/// Reads every exported table as it was at one moment, and sends its lines. Gives the files that there were.
async fn read_tables(
    context: &JobContext,
    user: UserId,
    parts: &mpsc::Sender<ArchivePart>,
) -> Result<Vec<FileId>, StoreError> {
    context
        .database
        .snapshot(async |connection| {
            let owner = with_deadline(owners::find_account(connection, user)).await?;
            let owner = owner.ok_or(StoreError::UserGone)?;
            for table in TABLES {
                let Export::File { name, sql } = table.export else {
                    continue;
                };
                if parts.send(ArchivePart::Table(name)).await.is_err() {
                    // The packer has failed, and returns why.
                    return Ok(Vec::new());
                }
                with_deadline(personal_data::open_lines(connection, sql, &owner)).await?;
                while with_deadline(send_next_lines(connection, parts)).await? {}
                with_deadline(personal_data::close_lines(connection)).await?;
            }
            list_files(connection, &owner).await
        })
        .await
}

/// The ids of all files: eight bytes for each, of which a person keeps at most a quarter of a million in a gigabyte.
async fn list_files(connection: &mut PgConnection, owner: &AccountOwner) -> Result<Vec<FileId>, StoreError> {
    let mut files = Vec::new();
    loop {
        let after = files.last().copied().unwrap_or(FileId(0));
        let page = with_deadline(exported_files::list_ids(connection, owner, after, IDS)).await?;
        if page.is_empty() {
            return Ok(files);
        }
        files.extend(page);
    }
}

/// Sends the next lines in chunks, so that no more than a chunk and a line is held; `false` after the last.
async fn send_next_lines(connection: &mut PgConnection, parts: &mpsc::Sender<ArchivePart>) -> Result<bool, StoreError> {
    let mut lines = pin!(personal_data::next_lines(connection));
    let (mut chunk, mut bytes, mut any) = (Vec::new(), 0, false);
    while let Some(line) = lines.try_next().await? {
        any = true;
        bytes += line.len();
        chunk.push(line);
        if bytes >= CHUNK_BYTES {
            bytes = 0;
            if parts
                .send(ArchivePart::Lines(std::mem::take(&mut chunk)))
                .await
                .is_err()
            {
                // The packer has failed, and returns why.
                return Ok(false);
            }
        }
    }
    Ok(any && parts.send(ArchivePart::Lines(chunk)).await.is_ok())
}

/// Has the file store keep the archive, and appends its event; `None` if the export is no longer wanted, or is another run's.
async fn keep(
    context: &JobContext,
    id: i64,
    user: UserId,
    key: &ObjectKey,
    packed: Packed,
) -> Result<Option<i64>, JobError> {
    let archive = Archive {
        key: key.clone(),
        size: i64::try_from(packed.size).unwrap_or(i64::MAX),
        sha256: packed.sha256,
    };
    let named = context
        .database
        .transaction(async |connection| exports::name_object(connection, id, &archive).await);
    if !named.await.map_err(snooze_if_unavailable)? {
        return Ok(None);
    }
    let put = context
        .files
        .put(key, packed.file, packed.size, "application/zip")
        .await;
    put.map_err(|error| {
        report(context, &error);
        JobError::Retry {
            after: Some(STORE_PAUSE),
            reason: error.to_string(),
        }
    })?;
    let now = context.clock.now();
    let expires_at = now + TTL;
    let ready = Event::Export(ReadyExport {
        size: archive.size,
        expires_at,
    });
    let finished = context.database.transaction(async |connection| {
        let is_there = users::hold(connection, user).await?.is_some();
        if is_there && exports::finish(connection, id, key, expires_at).await? {
            return events::append(connection, user, &[ready], now).await.map(Some);
        }
        // It was put while its row went: what was listed then may have been deleted before it was there.
        object_deletions::list_unnamed(connection, user, key, 0, Duration::ZERO).await?;
        cura_queue::enqueue(connection, &DeleteObjects::of_export(now.timestamp_micros())).await?;
        Ok(None)
    });
    finished.await.map_err(retry_on_store_error)
}

fn report(context: &JobContext, error: &FileStoreError) {
    let store = context.files.name();
    if matches!(error, FileStoreError::Refused(_)) {
        tracing::error!(store, %error, "the file store refuses an archive: check STORAGE_PROVIDER and what belongs to it");
    } else {
        tracing::warn!(store, %error, "the file store does not keep an archive at the moment");
    }
}
