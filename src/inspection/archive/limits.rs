//! How much may come out of an archive, and out of the archives in it.

use cura_domain::file::FileReason;

use super::{Archive, SIGNATURE};

/// The most entries of an archive, those of archives in it counted.
pub(super) const MAX_ENTRIES: usize = 1_000;
/// The most that comes out of an archive and of those in it, in bytes.
const MAX_UNPACKED_BYTES: usize = 100 * 1024 * 1024;
/// How many times as large as the file that may be.
const MAX_RATIO: usize = 100;
/// A letter of a few kilobytes may be packed better than that, and does no harm.
const ALWAYS_ALLOWED_BYTES: usize = 1024 * 1024;

/// Unpacks everything, also the archives in it, and keeps nothing; `look` gets each entry of the archive itself that `wanted` picks,
/// and each archive in it, with its name.
///
/// Archives in archives in it are counted as bytes, and not opened: nothing of Cura unpacks those.
///
/// # Errors
/// What [`Archive::open`] fails with, for any of them, or [`FileReason::LimitsExceeded`].
pub(crate) fn check_limits(
    archive: &Archive<'_>,
    wanted: &dyn Fn(&[u8]) -> bool,
    look: &mut dyn FnMut(Part<'_>) -> Result<(), FileReason>,
) -> Result<(), FileReason> {
    let most = (archive.bytes.len().saturating_mul(MAX_RATIO)).max(ALWAYS_ALLOWED_BYTES);
    let mut budget = Budget {
        entries: MAX_ENTRIES,
        bytes: most.min(MAX_UNPACKED_BYTES),
    };
    budget.take_entries(archive)?;
    for entry in archive.entries() {
        let is_wanted = wanted(entry.name());
        let mut content = Vec::new();
        let mut is_archive = false;
        archive.unpack(entry, &mut |piece| {
            budget.take_bytes(piece.len())?;
            // The first piece of an entry is long enough for it, unless the entry is not.
            is_archive |= content.is_empty() && piece.starts_with(SIGNATURE);
            if is_wanted || is_archive {
                content.extend_from_slice(piece);
            }
            Ok(())
        })?;
        if is_archive {
            let inner = Archive::open(&content)?;
            budget.take_entries(&inner)?;
            for entry in inner.entries() {
                inner.unpack(entry, &mut |piece| budget.take_bytes(piece.len()))?;
            }
            look(Part::Archive(&inner))?;
        } else if is_wanted {
            look(Part::Entry {
                name: entry.name(),
                content: &content,
            })?;
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

    fn take_bytes(&mut self, count: usize) -> Result<(), FileReason> {
        self.bytes = self.bytes.checked_sub(count).ok_or(FileReason::LimitsExceeded)?;
        Ok(())
    }
}
