//! A file that is being read.

use std::ops::Range;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};

use super::error::FileStoreError;

/// An open file.
pub struct OpenedFile {
    /// How large the whole file is, in bytes.
    pub size: u64,
    /// What was asked for, in pieces of at most 64 KiB. Ends after the first error.
    pub bytes: BoxStream<'static, Result<Bytes, FileStoreError>>,
}

impl OpenedFile {
    pub(super) fn new(size: u64, bytes: impl Stream<Item = Result<Bytes, FileStoreError>> + Send + 'static) -> Self {
        Self {
            size,
            bytes: bytes.boxed(),
        }
    }

    /// Nothing of a file of this size.
    pub(super) fn nothing_of(size: u64) -> Self {
        Self::new(size, stream::empty())
    }
}

/// What of a range lies within a file of this size; all of it for `None`.
pub(super) fn within(range: Option<Range<u64>>, size: u64) -> Range<u64> {
    let range = range.unwrap_or(0..size);
    let end = range.end.min(size);
    range.start.min(end)..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_to_the_file() {
        for (range, expected) in [
            (None, 0..10),
            (Some(0..10), 0..10),
            (Some(3..5), 3..5),
            (Some(3..99), 3..10),
            (Some(10..11), 10..10),
            (Some(12..99), 10..10),
            (Some(5..5), 5..5),
            (Some(0..u64::MAX), 0..10),
        ] {
            assert_eq!(within(range.clone(), 10), expected, "{range:?}");
        }
        #[expect(clippy::reversed_empty_ranges, reason = "it is what a client may ask for")]
        let reversed = within(Some(7..3), 10);
        assert!(reversed.is_empty());
    }
}
