//! How much may come out of an archive, and out of the archives in it.

use cura_domain::file::FileReason;

use super::{Archive, Entry, SIGNATURE};

/// The most entries of an archive, those of archives in it counted.
pub(super) const MAX_ENTRIES: usize = 1_000;
/// The most that comes out of an archive and of those in it, in bytes.
const MAX_UNPACKED_BYTES: usize = 100 * 1024 * 1024;
/// How many times as large as the file that may be.
const MAX_RATIO: usize = 100;
/// A letter of a few kilobytes may be packed better than that, and does no harm.
const ALWAYS_ALLOWED_BYTES: usize = 1024 * 1024;
/// So many of the first bytes of an entry say whether it is wanted.
const HEAD_BYTES: usize = 8;

/// Unpacks everything, also the archives in it, and keeps nothing; `look` gets each entry that `wanted` picks by its name and first
/// eight bytes, and each archive, also those entries of archives in it.
///
/// Archives in archives in it are counted as bytes, and not opened: nothing of Cura unpacks those. They are shown as entries.
///
/// # Errors
/// What [`Archive::open`] fails with, for any of them, or [`FileReason::LimitsExceeded`].
pub(crate) fn check_limits(
    archive: &Archive<'_>,
    wanted: &dyn Fn(&[u8], &[u8]) -> bool,
    look: &mut dyn FnMut(Part<'_>) -> Result<(), FileReason>,
) -> Result<(), FileReason> {
    let most = (archive.bytes.len().saturating_mul(MAX_RATIO)).max(ALWAYS_ALLOWED_BYTES);
    let mut budget = Budget {
        entries: MAX_ENTRIES,
        bytes: most.min(MAX_UNPACKED_BYTES),
    };
    budget.take_entries(archive)?;
    for entry in archive.entries() {
        let is_wanted = |head: &[u8]| head.starts_with(SIGNATURE) || wanted(entry.name(), head);
        let Some(content) = budget.unpack(archive, entry, &is_wanted)? else {
            continue;
        };
        if !content.starts_with(SIGNATURE) {
            look(Part::of(entry, &content))?;
            continue;
        }
        let inner = Archive::open(&content)?;
        budget.take_entries(&inner)?;
        look(Part::Archive(&inner))?;
        for entry in inner.entries() {
            let is_wanted = |head: &[u8]| wanted(entry.name(), head);
            if let Some(content) = budget.unpack(&inner, entry, &is_wanted)? {
                look(Part::of(entry, &content))?;
            }
        }
    }
    Ok(())
}

/// What is seen while everything is unpacked.
pub(crate) enum Part<'a> {
    /// An entry that was wanted.
    Entry { name: &'a [u8], content: &'a [u8] },
    /// An archive within the archive.
    Archive(&'a Archive<'a>),
}

impl<'a> Part<'a> {
    fn of(entry: &Entry<'a>, content: &'a [u8]) -> Self {
        Self::Entry {
            name: entry.name,
            content,
        }
    }
}

/// What is left of what may come out.
struct Budget {
    entries: usize,
    bytes: usize,
}

impl Budget {
    fn take_entries(&mut self, archive: &Archive<'_>) -> Result<(), FileReason> {
        let left = self.entries.checked_sub(archive.entries().len());
        self.entries = left.ok_or(FileReason::LimitsExceeded)?;
        Ok(())
    }

    /// Unpacks an entry, and keeps it if it is wanted for its first bytes.
    fn unpack(
        &mut self,
        archive: &Archive<'_>,
        entry: &Entry<'_>,
        is_wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Option<Vec<u8>>, FileReason> {
        let mut content = Vec::new();
        let mut is_kept = None;
        archive.unpack(entry, &mut |piece| {
            self.bytes = self.bytes.checked_sub(piece.len()).ok_or(FileReason::LimitsExceeded)?;
            if is_kept != Some(false) {
                content.extend_from_slice(piece);
            }
            if is_kept.is_none() && content.len() >= HEAD_BYTES {
                is_kept = Some(is_wanted(&content[..HEAD_BYTES]));
            }
            Ok(())
        })?;
        let is_kept = is_kept.unwrap_or_else(|| is_wanted(&content));
        Ok(is_kept.then_some(content))
    }
}
