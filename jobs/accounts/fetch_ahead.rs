//! Fetching the files of an archive: the next small ones are fetched while those before them are packed, so that the many files of a person
//! take as long as their bytes, and not as long as so many answers of the file store. What is ahead is bounded in number and bytes.

use std::collections::HashMap;

use cura_domain::FileId;
use cura_domain::file::FileStatus;
use cura_domain::object_key::ObjectKey;
use cura_providers::files::{Bytes, FileStore, FileStoreError, OpenedFile};
use cura_store::exported_files::ExportedFile;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// How many files are fetched at once, ahead of the one that is packed.
const MAX_FILES_AHEAD: usize = 16;
/// The largest file that is fetched ahead, in bytes: larger ones are streamed when it is their turn, and take their time anyway.
const MAX_BYTES_AHEAD: i64 = 256 * 1024;

/// What the file store has of a file.
pub(super) enum Fetched {
    /// All of it.
    Whole(ExportedFile, Vec<Bytes>),
    /// It is large: nothing is fetched yet.
    NotYet,
    /// It is not there, or not as long as it was.
    Missing,
    /// Nobody gets it.
    NotGivenOut(ExportedFile),
    /// It is deleted.
    Deleted,
}

/// Fetches these files, in this order, as they were `found` a moment ago.
pub(super) fn fetch_ahead(
    store: &FileStore,
    ids: &[FileId],
    mut found: HashMap<FileId, ExportedFile>,
) -> impl Stream<Item = (FileId, Result<Fetched, FileStoreError>)> {
    let files: Vec<_> = ids.iter().map(|id| (*id, found.remove(id))).collect();
    let fetching = stream::iter(files).map(move |(id, file)| {
        let store = store.clone();
        // In a task: its bytes come in while a large file before it is packed, however long that takes.
        let fetching = AbortOnDropHandle::new(TaskTracker::new().spawn(async move { fetch(&store, file).await }));
        async move {
            let fetched = fetching.await;
            (
                id,
                fetched.unwrap_or_else(|_| Err(FileStoreError::Unavailable("not_fetched".into()))),
            )
        }
    });
    fetching.buffered(MAX_FILES_AHEAD)
}

async fn fetch(store: &FileStore, file: Option<ExportedFile>) -> Result<Fetched, FileStoreError> {
    let Some(file) = file else {
        return Ok(Fetched::Deleted);
    };
    if file.status != FileStatus::Clean {
        return Ok(Fetched::NotGivenOut(file));
    }
    if file.size > MAX_BYTES_AHEAD {
        return Ok(Fetched::NotYet);
    }
    let Some(opened) = open(store, &file.key, file.size).await? else {
        return Ok(Fetched::Missing);
    };
    let bytes = opened.bytes.try_collect().await?;
    Ok(Fetched::Whole(file, bytes))
}

/// Opens an object; `None` if it is not there, or not as long as it was.
pub(super) async fn open(store: &FileStore, key: &ObjectKey, size: i64) -> Result<Option<OpenedFile>, FileStoreError> {
    match store.open(key, None).await {
        Ok(opened) => Ok((u64::try_from(size) == Ok(opened.size)).then_some(opened)),
        Err(FileStoreError::Missing) => Ok(None),
        Err(error) => Err(error),
    }
}
