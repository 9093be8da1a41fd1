//! Bytes on their way into an upload: written in parts, each by a short transaction of its own that adds it only where the last one ended.
//! Whoever dies in between has lost what was not written, and blocks nobody.

use std::time::Duration;

use chrono::{DateTime, Utc};
use cura_domain::FileId;
use cura_store::resumable_uploads;
use tokio::time::Instant;

use super::ResumableError;
use crate::caller::Caller;
use crate::files::Files;
use crate::files::keep::signed;

/// The longest part, in bytes. Postgres' client copies it twice while it is written.
const MAX_PART_BYTES: usize = 128 * 1024;
/// How long bytes wait for others before they are written: what a dead connection has brought is there before another one may take over.
const WRITE_AFTER: Duration = Duration::from_millis(500);

/// One request that adds bytes to an upload.
pub struct Appending {
    files: Files,
    caller: Caller,
    id: FileId,
    length: u64,
    /// Where the next part begins.
    offset: u64,
    /// What has arrived and is not written.
    waiting: Vec<u8>,
    /// When it is to be written.
    due: Option<Instant>,
    expires_at: DateTime<Utc>,
}

impl Files {
    /// Adds bytes to an upload of the caller, which has so many already.
    ///
    /// # Errors
    /// [`ResumableError::WrongOffset`] if it has not; else as of [`Files::find_resumable`].
    pub async fn append_resumable(&self, caller: Caller, id: FileId, offset: u64) -> Result<Appending, ResumableError> {
        let upload = self.find_resumable(caller, id).await?;
        if upload.received != signed(offset) {
            return Err(ResumableError::WrongOffset);
        }
        Ok(Appending {
            files: self.clone(),
            caller,
            id,
            length: u64::try_from(upload.length).unwrap_or_default(),
            offset,
            waiting: Vec::new(),
            due: None,
            expires_at: upload.expires_at,
        })
    }
}

impl Appending {
    /// How many bytes are missing.
    pub fn missing(&self) -> u64 {
        self.length - self.offset - self.waiting.len() as u64
    }

    /// How many bytes have been written, those from before included.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What this holds in memory at most once it is given so many bytes more, in bytes.
    pub fn held_with(&self, more: usize) -> usize {
        3 * self.capacity_with(more)
    }

    fn capacity_with(&self, more: usize) -> usize {
        let needed = (self.waiting.len() + more).next_power_of_two().min(MAX_PART_BYTES);
        needed.max(self.waiting.capacity())
    }

    /// When [`Self::write`] is to be called, if nothing arrives before.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes bytes, and writes all that make a whole part.
    ///
    /// # Errors
    /// As of [`Self::write`]. [`ResumableError::TooLarge`] if they are more than are missing; then none of them is taken.
    pub async fn push(&mut self, mut bytes: &[u8]) -> Result<(), ResumableError> {
        if bytes.len() as u64 > self.missing() {
            return Err(ResumableError::TooLarge);
        }
        while !bytes.is_empty() {
            let room = MAX_PART_BYTES - self.waiting.len();
            let (taken, rest) = bytes.split_at(room.min(bytes.len()));
            let capacity = self.capacity_with(taken.len());
            self.waiting.reserve_exact(capacity - self.waiting.len());
            self.waiting.extend_from_slice(taken);
            bytes = rest;
            if self.waiting.len() == MAX_PART_BYTES {
                self.write().await?;
            }
        }
        if !self.waiting.is_empty() && self.due.is_none() {
            self.due = Some(Instant::now() + WRITE_AFTER);
        }
        Ok(())
    }

    /// Writes what has arrived.
    ///
    /// # Errors
    /// [`ResumableError::WrongOffset`] when another request has added bytes meanwhile.
    pub async fn write(&mut self) -> Result<(), ResumableError> {
        self.due = None;
        if self.waiting.is_empty() {
            return Ok(());
        }
        let (user, id, offset) = (self.caller.user, self.id, signed(self.offset));
        let bytes = self.waiting.as_slice();
        let added = self
            .files
            .database
            .transaction(async |connection| resumable_uploads::append(connection, user, id, offset, bytes).await);
        if !added.await? {
            self.files.find_resumable(self.caller, id).await?;
            return Err(ResumableError::WrongOffset);
        }
        self.offset += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    /// Whether all of the upload has been written.
    pub fn is_complete(&self) -> bool {
        self.offset == self.length
    }

    /// When the upload is gone.
    pub fn expires_at(&self) -> DateTime<Utc> {
        self.expires_at
    }
}
