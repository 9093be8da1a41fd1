//! What of the file store goes into an archive: the person's clean files and their picture, one after the other. A file that is not given
//! out, or whose bytes are not there, is named with the reason, and so is a picture.

use std::collections::HashMap;
use std::pin::pin;

use cura_domain::archive_name::archive_name;
use cura_domain::file::FileStatus;
use cura_domain::{FileId, UserId};
use cura_providers::files::OpenedFile;
use cura_store::exported_files::{self, ExportedAvatar, ExportedFile};
use cura_store::exports;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::archive::ArchivePart;
use super::export_error::ExportError;
use super::fetch_ahead::{Fetched, fetch_ahead, open};
use crate::context::JobContext;

/// How many files are looked up at once, before their bytes are fetched.
const FILES_OF_A_LOOK: usize = 64;

/// Where an archive is packed.
struct Objects<'a> {
    context: &'a JobContext,
    export: i64,
    user: UserId,
    parts: &'a mpsc::Sender<ArchivePart>,
}

/// Sends the files and the picture of `user`, as long as this export of theirs is wanted. The bytes are read while no transaction is open.
pub(super) async fn send_objects(
    context: &JobContext,
    (export, user): (i64, UserId),
    ids: Vec<FileId>,
    parts: &mpsc::Sender<ArchivePart>,
) -> Result<(), ExportError> {
    let objects = Objects {
        context,
        export,
        user,
        parts,
    };
    for ids in ids.chunks(FILES_OF_A_LOOK) {
        let found = objects.find(ids).await?;
        let mut fetched = pin!(fetch_ahead(&context.files, ids, found));
        while let Some((id, fetched)) = fetched.next().await {
            objects.send_file(id, fetched?).await?;
        }
    }
    for avatar in objects.list_avatars().await? {
        objects.send_avatar(avatar).await?;
    }
    Ok(())
}

impl Objects<'_> {
    /// Files as they are now: they may have been deleted since, or found to be infected. With a file, its export is deleted.
    async fn find(&self, ids: &[FileId]) -> Result<HashMap<FileId, ExportedFile>, ExportError> {
        let found = self.context.database.connection(async |connection| {
            if exports::find_pending(connection, self.export).await?.is_none() {
                return Ok(None);
            }
            exported_files::list(connection, self.user, ids).await.map(Some)
        });
        found.await?.ok_or(ExportError::Unwanted)
    }

    async fn list_avatars(&self) -> Result<Vec<ExportedAvatar>, ExportError> {
        let listed = self
            .context
            .database
            .connection(async |connection| exported_files::list_avatars(connection, self.user).await);
        Ok(listed.await?)
    }

    async fn send_file(&self, id: FileId, fetched: Fetched) -> Result<(), ExportError> {
        match fetched {
            Fetched::Whole(file, bytes) => {
                self.send(begin_file(id, &file)).await?;
                for bytes in bytes {
                    self.send(ArchivePart::Bytes(bytes)).await?;
                }
                Ok(())
            }
            Fetched::NotYet => self.stream_file(id).await,
            Fetched::Missing => self.leave_missing_out(id).await,
            Fetched::NotGivenOut(file) => self.send(ArchivePart::LeftOut(not_given_out(id, &file))).await,
            Fetched::Deleted => self.send(ArchivePart::LeftOut(left_out(id, "deleted"))).await,
        }
    }

    /// Sends a large file, which is looked up again: those before it may have taken long.
    async fn stream_file(&self, id: FileId) -> Result<(), ExportError> {
        let Some(file) = self.find(&[id]).await?.remove(&id) else {
            return self.send(ArchivePart::LeftOut(left_out(id, "deleted"))).await;
        };
        if file.status != FileStatus::Clean {
            return self.send(ArchivePart::LeftOut(not_given_out(id, &file))).await;
        }
        match open(&self.context.files, &file.key, file.size).await? {
            Some(opened) => self.stream(begin_file(id, &file), opened).await,
            None => self.leave_missing_out(id).await,
        }
    }

    async fn leave_missing_out(&self, id: FileId) -> Result<(), ExportError> {
        tracing::warn!(file_id = %id, store = self.context.files.name(), "a clean file is not in the file store as it was; an archive goes without it");
        self.send(ArchivePart::LeftOut(left_out(id, "missing"))).await
    }

    async fn send_avatar(&self, avatar: ExportedAvatar) -> Result<(), ExportError> {
        let end = if avatar.media_type == "image/png" { "png" } else { "jpg" };
        let name = format!("avatar/{}.{end}", avatar.side);
        if let Some(opened) = open(&self.context.files, &avatar.key, avatar.size).await? {
            return self.stream(ArchivePart::Object { name, file: None }, opened).await;
        }
        // It may have been replaced since it was listed.
        let is_shown = self.list_avatars().await?.iter().any(|shown| shown.key == avatar.key);
        if is_shown {
            tracing::warn!(user_id = %self.user, store = self.context.files.name(), "an avatar is not in the file store as it was; an archive goes without it");
        }
        let why = if is_shown { "missing" } else { "deleted" };
        self.send(ArchivePart::LeftOut(json!({ "name": name, "why": why })))
            .await
    }

    async fn stream(&self, object: ArchivePart, mut opened: OpenedFile) -> Result<(), ExportError> {
        self.send(object).await?;
        while let Some(bytes) = opened.bytes.next().await {
            self.send(ArchivePart::Bytes(bytes?)).await?;
        }
        Ok(())
    }

    async fn send(&self, part: ArchivePart) -> Result<(), ExportError> {
        self.parts.send(part).await.map_err(|_| ExportError::PackerGone)
    }
}

fn begin_file(id: FileId, file: &ExportedFile) -> ArchivePart {
    ArchivePart::Object {
        name: archive_name(id, &file.name, file.file_type),
        file: Some(id),
    }
}

fn left_out(id: FileId, why: &str) -> Value {
    json!({ "file_id": id.0, "why": why })
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
