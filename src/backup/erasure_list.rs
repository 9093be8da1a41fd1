//! The list of erasures in the file store: one object each, which is written once and never deleted, because the database may be what is
//! lost. Numbers follow each other, so the list is read to its end without listing a bucket.

use std::io::Write as _;

use cura_domain::erasure::{Erasure, object_key};
use cura_providers::files::{FileStore, FileStoreError};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

/// How many objects of the list are asked for at once.
const CONCURRENT_READS: usize = 8;
/// How many numbers in a row may be missing before the list is taken to have ended: jobs that could not write them yet.
const MAX_MISSING: i64 = 64;
/// The most erasures that are read: more than there will be.
const MAX_READ: usize = 1_000_000;
/// The largest object of the list, in bytes.
const MAX_OBJECT_BYTES: usize = 4096;

/// What became of an erasure that was to be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// It is there.
    There,
    /// Its number is another person's, of whom the database did not know: it needs another number.
    NumberTaken,
}

/// Writes an erasure into the list, unless it is there.
///
/// # Errors
/// When the file store does not take it.
pub async fn list_erasure(files: &FileStore, erasure: &Erasure) -> Result<Listed, FileStoreError> {
    match read_one(files, erasure.number).await? {
        Entry::Of(known) if known.is_of_same_person(erasure) => return Ok(Listed::There),
        Entry::Of(_) | Entry::Unreadable => return Ok(Listed::NumberTaken),
        Entry::Missing => {}
    }
    let written = || {
        let text = serde_json::to_vec(erasure)?;
        let mut file = tempfile::tempfile()?;
        file.write_all(&text)?;
        Ok::<_, std::io::Error>((file, text.len() as u64))
    };
    let (file, size) = written().map_err(|error| FileStoreError::Unavailable(error.to_string().into()))?;
    let key = object_key(erasure.number).map_err(|_| FileStoreError::Missing)?;
    files.put(&key, file, size, "application/json").await?;
    Ok(Listed::There)
}

/// All erasures that the file store lists.
///
/// # Errors
/// When the file store does not answer. An object that cannot be read is left out, and the log says so.
pub async fn read_erasures(files: &FileStore) -> Result<Vec<Erasure>, FileStoreError> {
    let mut read = Vec::new();
    let (mut number, mut missing) = (0, 0);
    while missing < MAX_MISSING && read.len() < MAX_READ {
        for entry in read_next(files, number).await? {
            missing = if entry == Entry::Missing { missing + 1 } else { 0 };
            if let Entry::Of(erasure) = entry {
                read.push(erasure);
            }
        }
        number += MAX_MISSING;
    }
    Ok(read)
}

/// Whether the file store lists an erasure around this number, as it does if it is the one that was in use.
///
/// # Errors
/// When the file store does not answer.
pub async fn has_erasures_until(files: &FileStore, number: i64) -> Result<bool, FileStoreError> {
    let near = read_next(files, (number - MAX_MISSING).max(0)).await?;
    Ok(near.iter().any(|entry| *entry != Entry::Missing))
}

async fn read_next(files: &FileStore, behind: i64) -> Result<Vec<Entry>, FileStoreError> {
    let next: Vec<i64> = (behind + 1..=behind + MAX_MISSING).collect();
    stream::iter(next)
        .map(|number| read_one(files, number))
        .buffered(CONCURRENT_READS)
        .try_collect()
        .await
}

/// What is under a number of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Of(Erasure),
    /// Of a newer version, or damaged. It is left alone.
    Unreadable,
    Missing,
}

async fn read_one(files: &FileStore, number: i64) -> Result<Entry, FileStoreError> {
    let Ok(key) = object_key(number) else {
        return Ok(Entry::Missing);
    };
    let mut opened = match files.open(&key, None).await {
        Ok(opened) => opened,
        Err(FileStoreError::Missing) => return Ok(Entry::Missing),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    while let Some(piece) = opened.bytes.try_next().await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > MAX_OBJECT_BYTES {
            break;
        }
    }
    match serde_json::from_slice(&bytes) {
        Ok(erasure) => Ok(Entry::Of(erasure)),
        Err(_) => {
            tracing::error!(number, "an object of the list of erasures cannot be read");
            Ok(Entry::Unreadable)
        }
    }
}
