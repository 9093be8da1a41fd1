//! The bytes that go beside the text of a prompt, encoded as requests carry them, and how much memory they take in all requests of a
//! process together.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cura_domain::FileId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much memory the files of all requests that are being sent take at most, in bytes.
const MAX_MEMORY: usize = 64 * 1024 * 1024;
/// In how many bytes memory is counted out.
const UNIT: usize = 1024;

/// A file, as a request carries it.
#[derive(PartialEq, Eq)]
pub(crate) struct EncodedFile {
    pub(crate) media_type: String,
    pub(crate) base64: String,
}

impl EncodedFile {
    /// Whether it is a picture: else it is a PDF.
    pub(crate) fn is_picture(&self) -> bool {
        self.media_type.starts_with("image/")
    }
}

/// Shows nothing of it.
impl fmt::Debug for EncodedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodedFile")
            .field("media_type", &self.media_type)
            .finish_non_exhaustive()
    }
}

/// The files of a prompt. Cheap to clone; the last clone gives the memory back.
#[derive(Clone, Default)]
pub struct EncodedFiles(Arc<Held>);

#[derive(Default)]
struct Held {
    files: HashMap<FileId, EncodedFile>,
    /// Given back with the files.
    memory: Option<OwnedSemaphorePermit>,
}

/// The memory for files in all requests of a process: 64 MiB, of which a request takes what its files take encoded, twice: by themselves
/// and in its body. Clones share it.
#[derive(Debug, Clone)]
pub struct FileMemory(Arc<Semaphore>);

/// Memory for the files of one request.
pub struct TakenMemory(OwnedSemaphorePermit);

impl Default for FileMemory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_MEMORY / UNIT)))
    }
}

impl FileMemory {
    /// Waits until there is memory for files of so many bytes together, which are not encoded yet. Whoever asks first is served first.
    /// `None` when that takes longer than `patience`.
    pub async fn take(&self, bytes: u64, patience: Duration) -> Option<TakenMemory> {
        let encoded = (usize::try_from(bytes).unwrap_or(usize::MAX) / 3 + 1).saturating_mul(4);
        // No request waits for more than there is.
        let units = encoded.saturating_mul(2).div_ceil(UNIT).min(MAX_MEMORY / UNIT);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let taking = Arc::clone(&self.0).acquire_many_owned(units);
        let taken = tokio::time::timeout(patience, taking).await.ok()?;
        // It is never closed.
        taken.ok().map(TakenMemory)
    }
}

impl EncodedFiles {
    /// Files in memory that was taken for them.
    pub fn new(memory: TakenMemory) -> Self {
        Self(Arc::new(Held {
            files: HashMap::new(),
            memory: Some(memory.0),
        }))
    }

    /// Adds a file, before any clone is made.
    pub fn add(&mut self, id: FileId, media_type: String, bytes: &[u8]) {
        let base64 = STANDARD.encode(bytes);
        if let Some(held) = Arc::get_mut(&mut self.0) {
            held.files.insert(id, EncodedFile { media_type, base64 });
        }
    }

    /// Whether a file is there.
    pub fn contains(&self, id: FileId) -> bool {
        self.0.files.contains_key(&id)
    }

    pub(crate) fn get(&self, id: FileId) -> Option<&EncodedFile> {
        self.0.files.get(&id)
    }
}

impl PartialEq for EncodedFiles {
    fn eq(&self, other: &Self) -> bool {
        self.0.files == other.0.files
    }
}

impl Eq for EncodedFiles {}

/// Shows how many there are, and nothing of them.
impl fmt::Debug for EncodedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = self.0.memory.as_ref().map_or(0, |memory| memory.num_permits() * UNIT);
        f.debug_struct("EncodedFiles")
            .field("files", &self.0.files.len())
            .field("memory", &memory)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(10);
    const MIB: u64 = 1024 * 1024;

    #[tokio::test]
    async fn memory_is_given_back_with_the_last_clone() {
        let memory = FileMemory::default();
        let mut files = EncodedFiles::new(memory.take(20 * MIB, SHORT).await.unwrap());
        files.add(FileId(1), "image/jpeg".to_owned(), b"abc");
        let clone = files.clone();
        drop(files);
        assert!(clone.contains(FileId(1)) && !clone.contains(FileId(2)));
        assert!(memory.take(20 * MIB, SHORT).await.is_none(), "20 MiB take 54 MiB of 64");
        assert!(memory.take(2 * MIB, SHORT).await.is_some());
        drop(clone);
        assert!(memory.take(20 * MIB, SHORT).await.is_some());
    }

    #[tokio::test]
    async fn whoever_waits_is_served_and_nobody_waits_for_more_than_there_is() {
        let memory = FileMemory::default();
        let held = memory.take(u64::MAX, SHORT).await.unwrap();
        let (next, ()) = tokio::join!(memory.take(MIB, Duration::from_secs(1)), async {
            tokio::time::sleep(SHORT).await;
            drop(held);
        });
        assert!(next.is_some());
    }
}
