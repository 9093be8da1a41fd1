//! Files of people, for operators: which there are, what is known of one, scanning it again, and deleting it. Nothing here reads a name or
//! what is in a file.

mod rescan;

use cura_domain::FileId;
use cura_domain::file::{FileDetails, FileStatus};
use cura_domain::object_key::ObjectKey;
use cura_live::Live;
use cura_providers::files::{FileStore, FileStoreError};
use cura_queue::ScanUpload;
use cura_store::files::KnownFiles;
use cura_store::{StoreError, files};
use serde::Serialize;
use thiserror::Error;

pub use cura_domain::file::KnownFile;
pub use rescan::{FailedFiles, Interrupted, Rescan, Rescanned};

use super::{Act, Acts, NamedUser, OperateError};
use crate::files::delete_file;

/// Which files are listed.
#[derive(Debug, Clone, Default)]
pub struct FileFilter {
    /// Those of this user.
    pub user: Option<NamedUser>,
    /// Those of this status.
    pub status: Option<FileStatus>,
    /// Those that are older than this one.
    pub before: Option<FileId>,
}

/// Whether the file store has the bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectState {
    /// All of them.
    Present,
    /// More of them, or fewer, than there should be.
    Damaged,
    /// None of them.
    Missing,
    /// It does not say at the moment, or cannot be asked from here.
    Unknown,
}

/// A file, and what is done with it.
#[derive(Debug, Clone, Serialize)]
pub struct ShownFile {
    /// The file.
    #[serde(flatten)]
    pub details: FileDetails,
    /// Whether a job of it waits or runs that scans it.
    pub scan_is_queued: bool,
    /// Whether its bytes are in the file store.
    pub object: ObjectState,
}

/// Why nothing was done with files.
#[derive(Debug, Error)]
pub enum OperateFilesError {
    /// The filter names no user.
    #[error("there is no such user")]
    NoSuchUser,
    /// There is no such file.
    #[error("there is no file {0}")]
    NotFound(FileId),
    /// It is still on its way into the file store.
    #[error("file {0} is still being stored")]
    Storing(FileId),
    /// Its bytes are deleted.
    #[error("file {0} is infected, and its bytes are deleted")]
    Infected(FileId),
    /// The file store does not have its bytes, or not all of them.
    #[error("the bytes of file {0} are not in the file store")]
    WithoutBytes(FileId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OperateError for OperateFilesError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoSuchUser => "user_not_found",
            Self::NotFound(_) => "file_not_found",
            Self::Storing(_) => "file_storing",
            Self::Infected(_) => "file_infected",
            Self::WithoutBytes(_) => "file_without_bytes",
            Self::Store(error) => error.code(),
        }
    }
}

/// The use cases of operators. Cheap to clone.
#[derive(Clone)]
pub struct Files {
    acts: Acts,
    /// Where people's connections learn of events at once; without it they do when they next look.
    live: Option<Live>,
    /// `None` where files are kept in a folder that is not here, or cannot be used by whoever has given the command.
    store: Option<FileStore>,
}

impl Files {
    /// Puts the parts together.
    pub const fn new(acts: Acts, live: Option<Live>, store: Option<FileStore>) -> Self {
        Self { acts, live, store }
    }

    /// At most `limit` files, newest first, and whether there are more.
    ///
    /// # Errors
    /// [`OperateFilesError::NoSuchUser`].
    pub async fn list(&self, filter: &FileFilter, limit: u32) -> Result<(Vec<KnownFile>, bool), OperateFilesError> {
        let which = KnownFiles {
            status: filter.status,
            before: filter.before,
        };
        let (limit, wanted) = (limit as usize, i64::from(limit) + 1);
        let listed = self.acts.database().connection(async |connection| {
            let Some(user) = &filter.user else {
                return Ok(files::list_known(connection, &which, wanted).await?);
            };
            let user = user.find(connection).await?.ok_or(OperateFilesError::NoSuchUser)?;
            Ok::<_, OperateFilesError>(files::list_known_of(connection, user, &which, wanted).await?)
        });
        let mut listed = listed.await?;
        let has_more = listed.len() > limit;
        listed.truncate(limit);
        Ok((listed, has_more))
    }

    /// What is known of a file.
    ///
    /// # Errors
    /// [`OperateFilesError::NotFound`].
    pub async fn show(&self, id: FileId) -> Result<ShownFile, OperateFilesError> {
        let known = self.acts.database().connection(async |connection| {
            let Some((details, key)) = files::find_known(connection, id).await? else {
                return Ok(None);
            };
            let round = cura_queue::present_period(connection, ScanUpload::ROUND).await?;
            let keys = ScanUpload::keys_at_work(id, round);
            let jobs = cura_queue::list_unfinished::<ScanUpload>(connection, &keys).await?;
            Ok::<_, StoreError>(Some((details, key, !jobs.is_empty())))
        });
        let (details, key, scan_is_queued) = known.await?.ok_or(OperateFilesError::NotFound(id))?;
        let object = self.object_state(&key, details.file.size).await;
        Ok(ShownFile {
            details,
            scan_is_queued,
            object,
        })
    }

    async fn object_state(&self, key: &ObjectKey, size: i64) -> ObjectState {
        let Some(store) = &self.store else {
            return ObjectState::Unknown;
        };
        match store.open(key, None).await {
            Ok(opened) if u64::try_from(size) == Ok(opened.size) => ObjectState::Present,
            Ok(_) => ObjectState::Damaged,
            Err(FileStoreError::Missing) => ObjectState::Missing,
            Err(error) => {
                tracing::warn!(store = store.name(), %error, "the file store does not say whether it has a file");
                ObjectState::Unknown
            }
        }
    }

    /// Deletes a file, as its person can: it is gone at once, from its messages, too, and a job deletes the bytes.
    ///
    /// # Errors
    /// [`OperateFilesError`]; then nothing is deleted.
    pub async fn delete(&self, id: FileId) -> Result<(), OperateFilesError> {
        let now = self.acts.now();
        let act = Act::new("files.delete").on(id);
        let deleted = self.acts.transaction(act, async |connection, _| {
            let found = files::find_owner(connection, id).await?;
            let (user, status) = found.ok_or(OperateFilesError::NotFound(id))?;
            if status == FileStatus::Storing {
                return Err(OperateFilesError::Storing(id));
            }
            match delete_file(connection, user, id, now).await {
                Ok(Some(seq)) => Ok((user, seq)),
                // Its person is being erased, and the file with them.
                Ok(None) | Err(StoreError::UserGone) => Err(OperateFilesError::NotFound(id)),
                Err(error) => Err(error.into()),
            }
        });
        let (user, seq) = deleted.await?;
        if let Some(live) = &self.live {
            live.publish_event(user, seq).await;
        }
        Ok(())
    }
}
