//! Files of this machine, in bounded pieces and off the threads of the runtime.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};

use super::error::FileStoreError;

/// The largest piece, in bytes.
pub(super) const PIECE: usize = 64 * 1024;

/// Runs work that may block. What takes longer than `limit` is not waited for, though it may still be done.
pub(super) async fn blocking<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, FileStoreError> {
    match tokio::time::timeout(limit, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => done.map_err(|error| FileStoreError::of_disk(&error)),
        // It panicked, or the runtime ends.
        Ok(Err(_)) => Err(FileStoreError::unavailable("not_done")),
        Err(_) => Err(FileStoreError::timed_out()),
    }
}

/// The bytes of a file in this range, wherever its cursor is. A file that ends before is an error.
pub(super) fn read(
    file: File,
    range: Range<u64>,
    limit: Duration,
) -> impl Stream<Item = Result<Bytes, FileStoreError>> + Send + 'static {
    let file = Arc::new(file);
    stream::try_unfold(range.start, move |position| {
        let file = Arc::clone(&file);
        let end = range.end;
        async move {
            let Some(length) = piece_at(position, end) else {
                return Ok(None);
            };
            let reading = blocking(limit, move || {
                let mut piece = vec![0; length];
                file.read_exact_at(&mut piece, position)?;
                Ok(Bytes::from(piece))
            });
            let piece = reading.await.map_err(FileStoreError::never_missing)?;
            Ok(Some((piece, position + length as u64)))
        }
    })
}

/// Copies the bytes in this range to the same place of another file. Blocks.
pub(super) fn copy(source: &File, target: &File, range: Range<u64>) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut position = range.start;
    while let Some(length) = piece_at(position, range.end) {
        let piece = &mut piece[..length];
        source.read_exact_at(piece, position)?;
        target.write_all_at(piece, position)?;
        position += length as u64;
    }
    Ok(())
}

/// How much is read at `position`; `None` at the end.
fn piece_at(position: u64, end: u64) -> Option<usize> {
    let left = usize::try_from(end.saturating_sub(position)).unwrap_or(PIECE);
    Some(left.min(PIECE)).filter(|length| *length > 0)
}
