//! What a link leads to: the bytes of a clean file, or of its thumbnail, for as long as its person is there.

use std::ops::Range;

use cura_domain::file_name::FileName;
use cura_domain::file_type::FileType;
use cura_domain::object_key::ObjectKey;
use cura_providers::files::{FileStoreError, LINK_LIFETIME, OpenedFile, attachment};
use cura_store::{StoreError, served_files};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::Files;
use super::links::{OpenedLink, UnusableLink, Variant};

/// Why a link leads to nothing.
#[derive(Debug, Error)]
pub enum ServeError {
    /// We have not signed it.
    #[error("no link of ours")]
    Forged,
    /// It was good once.
    #[error("the link has expired")]
    Expired,
    /// The file is gone, or is not given out.
    #[error("no such file")]
    NotFound,
    /// The file store does not give it.
    #[error("the file store is not available")]
    FileStoreUnavailable,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A file that is given out.
#[derive(Debug, Clone)]
pub struct ServedFile {
    key: ObjectKey,
    /// The name to save it under.
    name: String,
    /// What it is, by its content.
    pub media_type: String,
    /// In bytes.
    pub size: u64,
    /// The same for the same bytes only: hexadecimal digits.
    pub tag: String,
    /// How long the address is good at which it is.
    pub lifetime: Lifetime,
}

/// How long the address of a file is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// So many seconds, for whoever has the link.
    Seconds(i64),
    /// As long as the file is shown, and it is never another one.
    Forever,
}

impl ServedFile {
    /// A picture that was made anew, of something with this name.
    pub(super) fn made(key: ObjectKey, name: &str, media_type: String, size: i64, lifetime: Lifetime) -> Self {
        let file_type = match media_type.as_str() {
            "image/png" => FileType::Png,
            _ => FileType::Jpeg,
        };
        Self {
            name: FileName::new(name, file_type).for_saving(file_type),
            media_type,
            size: unsigned(size),
            // Every picture that is made has a place of its own, which is never put to again.
            tag: hexadecimal(&Sha256::digest(key.as_str())),
            key,
            lifetime,
        }
    }

    /// The value of `Content-Disposition`, which saves it under its name.
    pub fn disposition(&self) -> String {
        attachment(&self.name)
    }
}

impl Files {
    /// What a link leads to: the parts of its path and query, as they came.
    ///
    /// # Errors
    /// [`ServeError`]. [`ServeError::Forged`] before anybody is asked.
    pub async fn find_served(
        &self,
        file: &str,
        variant: &str,
        expires_at: &str,
        signature: &str,
    ) -> Result<ServedFile, ServeError> {
        let opened = self.links.open(file, variant, expires_at, signature);
        let link = opened.map_err(|unusable| match unusable {
            UnusableLink::Forged => ServeError::Forged,
            UnusableLink::Expired => ServeError::Expired,
        })?;
        match link.variant {
            Variant::Original => self.find_original(link).await,
            Variant::Thumbnail => self.find_thumbnail(link).await,
        }
    }

    async fn find_original(&self, link: OpenedLink) -> Result<ServedFile, ServeError> {
        let found = self
            .database
            .connection(async |connection| served_files::find_original(connection, link.file).await);
        let original = found.await?.ok_or(ServeError::NotFound)?;
        Ok(ServedFile {
            name: FileName::new(&original.name, original.file_type).for_saving(original.file_type),
            media_type: original.file_type.media_type().to_owned(),
            size: unsigned(original.size),
            tag: hexadecimal(&original.sha256),
            key: original.key,
            lifetime: Lifetime::Seconds(link.expires_in),
        })
    }

    async fn find_thumbnail(&self, link: OpenedLink) -> Result<ServedFile, ServeError> {
        let found = self
            .database
            .connection(async |connection| served_files::find_thumbnail(connection, link.file).await);
        let thumbnail = found.await?.ok_or(ServeError::NotFound)?;
        Ok(ServedFile::made(
            thumbnail.key,
            &thumbnail.name,
            thumbnail.media_type,
            thumbnail.size,
            Lifetime::Seconds(link.expires_in),
        ))
    }

    /// Opens what is given out, all of it or a range that lies within it.
    ///
    /// # Errors
    /// [`ServeError::FileStoreUnavailable`], also when the store has less than it should.
    pub async fn open_served(&self, file: &ServedFile, range: Option<Range<u64>>) -> Result<OpenedFile, ServeError> {
        let opened = self
            .store
            .open(&file.key, range)
            .await
            .map_err(|error| self.unavailable(&error))?;
        if opened.size != file.size {
            let store = self.store.name();
            tracing::warn!(store, "a file in the file store is not as long as it was");
            return Err(ServeError::FileStoreUnavailable);
        }
        Ok(opened)
    }

    /// The address at the file store to which clients are sent, where that is set up. It is good for a minute.
    ///
    /// # Errors
    /// [`ServeError::FileStoreUnavailable`]
    pub async fn redirect_of(&self, file: &ServedFile) -> Result<Option<String>, ServeError> {
        // What others may keep for ever must not lead to where it is for a minute.
        if !self.redirects || file.lifetime == Lifetime::Forever {
            return Ok(None);
        }
        let link = self.store.link(&file.key, &file.name, &file.media_type, LINK_LIFETIME);
        let link = link.await.map_err(|error| self.unavailable(&error))?;
        Ok(link.map(String::from))
    }

    fn unavailable(&self, error: &FileStoreError) -> ServeError {
        let store = self.store.name();
        match error {
            // Unless it is being deleted at this moment.
            FileStoreError::Missing => tracing::warn!(store, "a clean file is not in the file store"),
            error => tracing::warn!(store, %error, "the file store does not give a file"),
        }
        ServeError::FileStoreUnavailable
    }
}

fn unsigned(size: i64) -> u64 {
    u64::try_from(size).unwrap_or(0)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
