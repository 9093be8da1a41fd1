//! What of the file store goes into an archive: the person's clean files and their picture, streamed one after the other. A file that is not
//! given out, or whose bytes are not there, is named with the reason.

use std::fmt;

use cura_domain::archive_name::archive_name;
use cura_domain::file::FileStatus;
use cura_domain::object_key::ObjectKey;
use cura_domain::{FileId, UserId};
use cura_providers::files::{FileStoreError, OpenedFile};
use cura_queue::JobError;
use cura_store::exported_files::{self, ExportedFile};
use cura_store::{StoreError, exports};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::archive::ArchivePart;
use super::export_account::STORE_PAUSE;
use crate::context::JobContext;
use crate::errors::retry_on_store_error;

/// Why the file store has not given everything.
pub(super) enum ObjectsError {
    /// The database has failed.
    Store(StoreError),
    /// The file store has.
    Files(FileStoreError),
    /// The export was deleted meanwhile, or another run has finished it.
    Unwanted,
}

impl From<StoreError> for ObjectsError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ObjectsError> for JobError {
    fn from(error: ObjectsError) -> Self {
        match error {
            ObjectsError::Store(error) => retry_on_store_error(error),
            ObjectsError::Files(error) => Self::Retry {
                after: Some(STORE_PAUSE),
                reason: error.to_string(),
            },
            ObjectsError::Unwanted => Self::Discard {
                reason: "the export is no longer wanted".to_owned(),
            },
        }
    }
}

/// The packer has failed, and returns why.
struct PackerGone;

/// Sends the files and the picture of `user`, as long as this export of theirs is wanted. The bytes are read while no transaction is open.
pub(super) async fn send_objects(
    context: &JobContext,
    (export, user): (i64, UserId),
    ids: Vec<FileId>,
    parts: &mpsc::Sender<ArchivePart>,
) -> Result<(), ObjectsError> {
    for id in ids {
        // As it is now: it may have been deleted since, or found to be infected. With a file, its export is deleted.
        let found = context.database.connection(async |connection| {
            if exports::find_pending(connection, export).await?.is_none() {
                return Ok(None);
            }
            exported_files::find(connection, user, id).await.map(Some)
        });
        let Some(found) = found.await? else {
            return Err(ObjectsError::Unwanted);
        };
        let sent = match found {
            None => send(parts, ArchivePart::LeftOut(left_out(id, "deleted"))).await,
            Some(file) if file.status == FileStatus::Clean => send_file(context, id, file, parts).await?,
            Some(file) => send(parts, ArchivePart::LeftOut(not_given_out(id, &file))).await,
        };
        if sent.is_err() {
            return Ok(());
        }
    }
    let avatars = context
        .database
        .connection(async |connection| exported_files::list_avatars(connection, user).await);
    for avatar in avatars.await? {
        let end = if avatar.media_type == "image/png" { "png" } else { "jpg" };
        let object = ArchivePart::Object {
            name: format!("avatar/{}.{end}", avatar.side),
            file: None,
        };
        // One that is being replaced at this moment is left out.
        if let Some(opened) = open(context, &avatar.key, avatar.size).await?
            && send_bytes(object, opened, parts).await?.is_err()
        {
            return Ok(());
        }
    }
    Ok(())
}

async fn send_file(
    context: &JobContext,
    id: FileId,
    file: ExportedFile,
    parts: &mpsc::Sender<ArchivePart>,
) -> Result<Result<(), PackerGone>, ObjectsError> {
    let Some(opened) = open(context, &file.key, file.size).await? else {
        tracing::warn!(file_id = %id, store = context.files.name(), "a clean file is not in the file store as it was; an archive goes without it");
        return Ok(send(parts, ArchivePart::LeftOut(left_out(id, "missing"))).await);
    };
    let object = ArchivePart::Object {
        name: archive_name(id, &file.name, file.file_type),
        file: Some(id),
    };
    send_bytes(object, opened, parts).await
}

/// Opens an object; `None` if it is not there, or not as long as it was.
async fn open(context: &JobContext, key: &ObjectKey, size: i64) -> Result<Option<OpenedFile>, ObjectsError> {
    match context.files.open(key, None).await {
        Ok(opened) => Ok((u64::try_from(size) == Ok(opened.size)).then_some(opened)),
        Err(FileStoreError::Missing) => Ok(None),
        Err(error) => Err(ObjectsError::Files(error)),
    }
}

async fn send_bytes(
    object: ArchivePart,
    mut opened: OpenedFile,
    parts: &mpsc::Sender<ArchivePart>,
) -> Result<Result<(), PackerGone>, ObjectsError> {
    if send(parts, object).await.is_err() {
        return Ok(Err(PackerGone));
    }
    while let Some(piece) = opened.bytes.next().await {
        let bytes = piece.map_err(ObjectsError::Files)?;
        if send(parts, ArchivePart::Bytes(bytes)).await.is_err() {
            return Ok(Err(PackerGone));
        }
    }
    Ok(Ok(()))
}

async fn send(parts: &mpsc::Sender<ArchivePart>, part: ArchivePart) -> Result<(), PackerGone> {
    parts.send(part).await.map_err(|_| PackerGone)
}

fn left_out(id: FileId, why: impl fmt::Display) -> Value {
    json!({ "file_id": id.0, "why": why.to_string() })
}

/// A file whose bytes are deleted, or that nobody gets before its scan has found it clean.
fn not_given_out(id: FileId, file: &ExportedFile) -> Value {
    let reason = file
        .reason
        .map(|code| json!({ "code": code.as_str(), "signature": file.signature }));
    let mut left_out = left_out(id, file.status.as_str());
    left_out["filename"] = file.name.clone().into();
    left_out["reason"] = reason.into();
    left_out
}
