//! Puts the objects of an archive into the file store. One that is there already with the same bytes is left alone, so a restore that was
//! killed goes on where it was.

use std::fs::File;
use std::io::{Read, Seek as _, Write as _};

use cura_backup::{BackupError, open_patiently};
use cura_domain::object_key::ObjectKey;
use cura_providers::files::{FileStore, FileStoreError};
use futures_util::TryStreamExt as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;

/// How much is copied at once, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// What became of the objects that the database names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RestoredObjects {
    /// Put into the file store.
    pub put: u64,
    /// There already.
    pub present: u64,
    /// Neither in the archive nor in the file store.
    pub missing: u64,
}

/// The file store, as an archive is put into it. Blocks, within a runtime.
pub(super) struct Putting<'s> {
    pub(super) store: &'s FileStore,
    /// Whether other bytes under the same key are replaced.
    pub(super) replaces: bool,
    pub(super) counts: RestoredObjects,
}

impl Putting<'_> {
    /// Puts an object of the archive.
    pub(super) fn put(&mut self, key: &ObjectKey, bytes: &mut dyn Read) -> Result<(), BackupError> {
        // It has no name, so a crash leaves nothing.
        let mut file = tempfile::tempfile().map_err(BackupError::Unwritable)?;
        let (size, sha256) = copy(bytes, &mut file)?;
        file.rewind().map_err(BackupError::Unwritable)?;
        let runtime = Handle::current();
        match runtime.block_on(sum(self.store, key)) {
            Ok(stored) if stored == sha256 => {
                self.counts.present += 1;
                return Ok(());
            }
            Ok(_) if !self.replaces => return Err(BackupError::OtherBytes),
            Ok(_) | Err(FileStoreError::Missing) => {}
            Err(error) => return Err(error.into()),
        }
        runtime.block_on(self.store.put(key, file, size, media_type(key)))?;
        self.counts.put += 1;
        Ok(())
    }

    /// Looks whether an object that is not in the archive is in the file store.
    pub(super) fn look(&mut self, key: &ObjectKey, size: u64) -> Result<(), BackupError> {
        match Handle::current().block_on(open_patiently(self.store, key, Some(0..1))) {
            Ok(opened) if opened.size == size => self.counts.present += 1,
            Ok(_) | Err(FileStoreError::Missing) => self.counts.missing += 1,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

fn copy(bytes: &mut dyn Read, file: &mut File) -> Result<(u64, [u8; 32]), BackupError> {
    let (mut size, mut sha256, mut buffer) = (0, Sha256::new(), vec![0; BUFFER_BYTES]);
    loop {
        let read = bytes.read(&mut buffer).map_err(BackupError::Unreadable)?;
        if read == 0 {
            return Ok((size, sha256.finalize().into()));
        }
        sha256.update(&buffer[..read]);
        file.write_all(&buffer[..read]).map_err(BackupError::Unwritable)?;
        size += read as u64;
    }
}

/// The SHA-256 of an object of the file store.
async fn sum(store: &FileStore, key: &ObjectKey) -> Result<[u8; 32], FileStoreError> {
    let mut opened = open_patiently(store, key, None).await?;
    let mut sha256 = Sha256::new();
    while let Some(bytes) = opened.bytes.try_next().await? {
        sha256.update(&bytes);
    }
    Ok(sha256.finalize().into())
}

/// The type with which an object is put: that of its extension, which we gave it.
fn media_type(key: &ObjectKey) -> &'static str {
    let (_, extension) = key.as_str().rsplit_once('.').unwrap_or_default();
    match extension {
        "jpeg" | "jpg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "pdf" => "application/pdf",
        "doc" => "application/msword",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        _ => "application/octet-stream",
    }
}
