//! Packs everything a user has into an archive, which the file store keeps: a file of JSON lines for each exported table, the user's files,
//! and a manifest.
//!
//! May run twice, even at once: each run puts its archive in a place of its own, which a row names before, and the run that has named
//! its place last finishes the export, if that is still wanted.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use cura_domain::UserId;
use cura_domain::event::Event;
use cura_domain::export::{Archive, ReadyExport};
use cura_domain::object_key::ObjectKey;
use cura_queue::{DeleteObjects, ExportAccount, FailExport, Job as _, JobError, Run};
use cura_store::{events, exports, object_deletions, users};
use serde_json::json;
use tokio::sync::mpsc;

use super::archive::{self, ArchivePart, Packed};
use super::export_error::{ExportError, end, wait_for_store};
use super::exported_objects::send_objects;
use super::exported_tables::read_tables;
use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;
use crate::words::unless_stopped;

/// How long an archive is kept.
const TTL: TimeDelta = TimeDelta::hours(1);
/// How many parts wait for the packer at most: lines as above, or 64 KiB of a file.
const WAITING_PARTS: usize = 4;

pub(crate) async fn run(context: Arc<JobContext>, job: ExportAccount, run: Run) -> Result<(), JobError> {
    let exported = unless_stopped(&run, export(&context, job.export_id));
    match exported.await? {
        Some(()) => Ok(()),
        // Its on-failure job deletes the export, for which its person may still wait if an operator has cancelled this.
        None => Err(JobError::Discard {
            reason: "it was cancelled".to_owned(),
        }),
    }
}

/// Deletes an export whose job was discarded, unless the file store has refused it, which its person is told.
pub(crate) async fn fail(context: Arc<JobContext>, job: FailExport, _: Run) -> Result<(), JobError> {
    let id = job.export_id;
    let key = ExportAccount { export_id: id }.key();
    let deleted = context.database.transaction(async |connection| {
        // An operator may have had it retried.
        let retried = cura_queue::list_unfinished::<ExportAccount>(connection, &[key]).await?;
        if !retried.is_empty() {
            return Ok(false);
        }
        exports::delete_pending(connection, id).await
    });
    if deleted.await.map_err(snooze_if_unavailable)? {
        tracing::warn!(
            export_id = id,
            "an export failed and was deleted; the next request begins another one"
        );
    }
    Ok(())
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
    if let Err(error) = context.files.check().await {
        return Err(wait_for_store(context, &error));
    }
    let key = ObjectKey::new(user, context.entropy.bytes(), "zip").map_err(|error| JobError::Discard {
        reason: error.to_string(),
    })?;
    match make(context, id, user, &key).await {
        Ok(Some(seq)) => context.live.publish_event(user, seq).await,
        Ok(None) => tracing::info!(
            export_id = id,
            "archive discarded: another run was faster, or it is no longer wanted"
        ),
        Err(error) => return end(context, id, error).await,
    }
    Ok(())
}

async fn make(context: &JobContext, id: i64, user: UserId, key: &ObjectKey) -> Result<Option<i64>, ExportError> {
    let packed = pack(context, id, user).await?;
    keep(context, id, user, key, packed).await
}

async fn pack(context: &JobContext, export: i64, user: UserId) -> Result<Packed, ExportError> {
    let (sender, receiver) = mpsc::channel(WAITING_PARTS);
    let about = json!({ "user_id": user.0, "created_at": context.clock.now() });
    let folder = context.scans.folder.clone();
    // Compressing would block an async thread.
    let packing = tokio::task::spawn_blocking(move || archive::pack(receiver, about, &folder));
    let read = read(context, export, user, sender).await;
    let packed = packing.await.map_err(io::Error::other)?;
    match read {
        // Why is in what was packed.
        Ok(()) | Err(ExportError::PackerGone) => Ok(packed?),
        Err(error) => Err(error),
    }
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
    send_objects(context, (export, user), files, &parts).await
}

/// Has the file store keep the archive, and appends its event; `None` if the export is no longer wanted, or is another run's.
async fn keep(
    context: &JobContext,
    id: i64,
    user: UserId,
    key: &ObjectKey,
    packed: Packed,
) -> Result<Option<i64>, ExportError> {
    let archive = Archive {
        key: key.clone(),
        size: i64::try_from(packed.size).unwrap_or(i64::MAX),
        sha256: packed.sha256,
    };
    let named = context
        .database
        .transaction(async |connection| exports::name_object(connection, id, &archive).await);
    if !named.await? {
        return Ok(None);
    }
    let put = context.files.put(key, packed.file, packed.size, "application/zip");
    put.await?;
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
    Ok(finished.await?)
}
