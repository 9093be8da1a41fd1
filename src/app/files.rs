//! Files and avatars that users upload: receiving, keeping, listing, deleting them and giving them out. A file of another user is not found.

mod arrival;
mod attachments;
mod avatars;
mod delete;
mod keep;
mod links;
mod resumable;
mod serve;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;

use cura_domain::{Clock, Entropy, FileId};
use cura_live::Live;
use cura_providers::files::FileStore;
use cura_store::{Database, StoreError, files};
use thiserror::Error;
use tokio::sync::Semaphore;

pub use arrival::{Arrival, Arrived};
pub use avatars::{AvatarError, Avatars};
pub use cura_domain::avatar::AvatarSize;
pub use cura_domain::file::{File, LinkedFile, Links};
pub(crate) use delete::delete_file;
pub use links::FileLinks;
pub use resumable::{Appending, MAX_UNFINISHED_UPLOADS, MalformedMetadata, ResumableError, UploadMetadata};
pub use serve::{Lifetime, ServeError, ServedFile};
pub use upload::{NewUpload, UploadError, Uploaded};

use crate::caller::Caller;
use crate::page::Page;

/// Of how many files the type is told at a time: each takes up to 4 MiB.
const DETECTED_AT_ONCE: usize = 4;

/// Why a file was not read or deleted.
#[derive(Debug, Error)]
pub enum FileError {
    /// It does not exist, or belongs to another user.
    #[error("no such file")]
    NotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where files are, and how much of them.
#[derive(Clone)]
pub struct FilesConfig {
    /// Where they are kept.
    pub store: FileStore,
    /// The folder in which they arrive, without a name.
    pub arrivals: PathBuf,
    /// How much a person may keep, in bytes; `None` is no limit.
    pub max_kept_bytes: Option<i64>,
    /// Whether clients are sent to the file store for what they download.
    pub redirects: bool,
}

/// The use cases of files. Cheap to clone.
#[derive(Clone)]
pub struct Files {
    database: Database,
    live: Live,
    clock: Clock,
    entropy: Entropy,
    store: FileStore,
    /// Whether clients are sent to the file store for what they download.
    redirects: bool,
    links: FileLinks,
    /// Where files are while they arrive.
    arrivals: Arc<PathBuf>,
    /// How much a person may keep, in bytes; `None` is no limit.
    max_kept_bytes: Option<i64>,
    /// Files whose type is being told.
    detecting: Arc<Semaphore>,
}

impl Files {
    /// Puts the parts together.
    pub fn new(
        database: Database,
        live: Live,
        clock: Clock,
        entropy: Entropy,
        links: FileLinks,
        config: FilesConfig,
    ) -> Self {
        Self {
            database,
            live,
            clock,
            entropy,
            store: config.store,
            redirects: config.redirects,
            links,
            arrivals: Arc::new(config.arrivals),
            max_kept_bytes: config.max_kept_bytes,
            detecting: Arc::new(Semaphore::new(DETECTED_AT_ONCE)),
        }
    }

    /// Room for a file that is about to arrive.
    pub fn arrival(&self) -> Arrival {
        Arrival::new(Arc::clone(&self.arrivals))
    }

    /// A file of the caller.
    ///
    /// # Errors
    /// [`FileError::NotFound`] also when it belongs to another user.
    pub async fn get(&self, caller: Caller, id: FileId) -> Result<LinkedFile, FileError> {
        let found = self
            .database
            .connection(async |connection| files::find_owned(connection, caller.user, id).await);
        let file = found.await?.ok_or(FileError::NotFound)?;
        Ok(self.links.link(file))
    }

    /// A page of the caller's files, the newest first.
    pub async fn list(
        &self,
        caller: Caller,
        before: Option<FileId>,
        limit: u32,
    ) -> Result<Page<LinkedFile, FileId>, StoreError> {
        self.database
            .connection(async |connection| {
                let items = files::list(connection, caller.user, before, i64::from(limit) + 1).await?;
                let total = files::count(connection, caller.user).await?;
                let items = items.into_iter().map(|file| self.links.link(file)).collect();
                Ok(Page::cut(items, limit, total, |last: &LinkedFile| last.file.id))
            })
            .await
    }

    /// Deletes a file of the caller: it is gone at once, from its messages, too, and a job deletes the bytes.
    ///
    /// # Errors
    /// [`FileError::NotFound`] also when it belongs to another user.
    pub async fn delete(&self, caller: Caller, id: FileId) -> Result<(), FileError> {
        let now = self.clock.now_micros();
        let deleted = self
            .database
            .transaction(async |connection| delete_file(connection, caller.user, id, now).await);
        let seq = deleted.await?.ok_or(FileError::NotFound)?;
        self.live.publish_event(caller.user, seq).await;
        Ok(())
    }
}
