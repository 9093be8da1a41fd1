//! File stores: they keep the bytes of a file under its key until it is deleted.
//!
//! The same for each of them: a file that [`FileStore::put`] took is whole and lasts; a stream of [`FileStore::open`] that ends
//! without an error has given every byte that was asked for. Neither holds a file in memory.

mod attachment;
mod bucket;
mod disk;
mod error;
mod http;
mod opened;
mod pieces;
mod s3;
mod supabase;
mod timeouts;
mod url;

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use ::url::Url;
use cura_domain::UserId;
use cura_domain::object_key::ObjectKey;

use self::disk::Disk;
use self::s3::S3;
use self::supabase::Supabase;

pub use ::bytes::Bytes;
pub use attachment::attachment;
pub use bucket::{Bucket, InvalidBucket, InvalidRegion, Region};
pub use error::{FileStoreError, InvalidFileStore};
pub use opened::OpenedFile;
pub use s3::S3Config;
pub use supabase::SupabaseConfig;
pub use timeouts::FileStoreTimeouts;
pub use url::{InvalidStoreUrl, StoreUrl};

/// How long a link of a store can be valid: what it leads to is fetched at once.
pub const LINK_LIFETIME: Duration = Duration::from_secs(60);

/// Where files are. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct FileStore(Store);

#[derive(Clone)]
enum Store {
    Disk(Disk),
    Supabase(Supabase),
    S3(S3),
}

impl FileStore {
    /// A folder, which is made if there is none. Servers and workers share it. Blocks.
    ///
    /// # Errors
    /// [`FileStoreError`] when it cannot be made or written.
    pub fn disk(folder: &Path, timeouts: FileStoreTimeouts) -> Result<Self, FileStoreError> {
        Ok(Self(Store::Disk(Disk::new(folder, timeouts)?)))
    }

    /// A bucket of Supabase Storage. Asks nothing yet.
    ///
    /// # Errors
    /// When a request cannot be made with this key.
    pub fn supabase(config: &SupabaseConfig, timeouts: FileStoreTimeouts) -> Result<Self, InvalidFileStore> {
        Ok(Self(Store::Supabase(Supabase::new(config, timeouts)?)))
    }

    /// A bucket of S3, or of a server that speaks its protocol. Asks nothing yet.
    ///
    /// # Errors
    /// When a request cannot be signed with these credentials.
    pub fn s3(config: &S3Config, timeouts: FileStoreTimeouts) -> Result<Self, InvalidFileStore> {
        Ok(Self(Store::S3(S3::new(config, timeouts)?)))
    }

    /// `disk`, `supabase` or `s3`.
    pub const fn name(&self) -> &'static str {
        match &self.0 {
            Store::Disk(_) => "disk",
            Store::Supabase(_) => "supabase",
            Store::S3(_) => "s3",
        }
    }

    /// Keeps the first `size` bytes of `source`, wherever its cursor is; a file that has this key is replaced. After `Ok` they outlast
    /// a loss of power; after an error they may be there or not, and the call can be repeated.
    ///
    /// # Errors
    /// [`FileStoreError`], never [`FileStoreError::Missing`]. A source that is shorter than `size` is unavailable.
    pub async fn put(
        &self,
        key: &ObjectKey,
        source: File,
        size: u64,
        content_type: &str,
    ) -> Result<(), FileStoreError> {
        match &self.0 {
            Store::Disk(disk) => disk.put(key, source, size).await,
            Store::Supabase(supabase) => supabase.put(key, source, size, content_type).await,
            Store::S3(s3) => s3.put(key, source, size, content_type).await,
        }
    }

    /// Opens a file, all of it or a range, of which only what lies within the file is given.
    ///
    /// # Errors
    /// [`FileStoreError`]
    pub async fn open(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<OpenedFile, FileStoreError> {
        match &self.0 {
            Store::Disk(disk) => disk.open(key, range).await,
            Store::Supabase(supabase) => supabase.open(key, range).await,
            Store::S3(s3) => s3.open(key, range).await,
        }
    }

    /// Deletes a file; one that is not there is deleted already.
    ///
    /// # Errors
    /// [`FileStoreError`], never [`FileStoreError::Missing`]. Then the file may be there or not.
    pub async fn delete(&self, key: &ObjectKey) -> Result<(), FileStoreError> {
        match &self.0 {
            Store::Disk(disk) => disk.delete(key).await,
            Store::Supabase(supabase) => supabase.delete(key).await,
            Store::S3(s3) => s3.delete(key).await,
        }
    }

    /// An address at the store itself from which anybody can download the file for `lifetime`, from a second to a minute, under this
    /// name. `None` for a folder. Supabase answers with the type that the file was put with.
    ///
    /// # Errors
    /// [`FileStoreError`]. S3 is not asked, so its link may lead to a file that is missing.
    pub async fn link(
        &self,
        key: &ObjectKey,
        file_name: &str,
        content_type: &str,
        lifetime: Duration,
    ) -> Result<Option<Url>, FileStoreError> {
        let lifetime = lifetime.clamp(Duration::from_secs(1), LINK_LIFETIME);
        match &self.0 {
            Store::Disk(_) => Ok(None),
            Store::Supabase(supabase) => supabase.link(key, file_name, lifetime).await.map(Some),
            Store::S3(s3) => s3.link(key, file_name, content_type, lifetime).await.map(Some),
        }
    }

    /// How many files the folder of `user` has; `None` if the store has no folders: to list a bucket takes rights that nothing else needs.
    ///
    /// # Errors
    /// [`FileStoreError`], never [`FileStoreError::Missing`].
    pub async fn count_in_folder(&self, user: UserId) -> Result<Option<u64>, FileStoreError> {
        match &self.0 {
            Store::Disk(disk) => disk.count_in_folder(user).await.map(Some),
            Store::Supabase(_) | Store::S3(_) => Ok(None),
        }
    }

    /// Whether the store takes what we ask for: the folder can be written, the bucket is there and takes our credentials.
    ///
    /// # Errors
    /// [`FileStoreError`], never [`FileStoreError::Missing`].
    pub async fn check(&self) -> Result<(), FileStoreError> {
        match &self.0 {
            Store::Disk(disk) => disk.check().await,
            Store::Supabase(supabase) => supabase.check().await,
            Store::S3(s3) => s3.check().await,
        }
    }
}
