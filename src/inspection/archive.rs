//! ZIP archives, read strictly and within limits (PKWARE's APPNOTE 6.3.10, section 4.3).
//!
//! The last end record decides, the directory ends where that begins, and the headers before the entries agree with it, so that every
//! reader sees the same entries. The sizes that an archive states are not believed: what comes out is counted while it is unpacked.

mod directory;
mod fields;
mod limits;
mod unpack;

use std::ops::Range;

use cura_domain::file::FileReason;

pub(crate) use limits::{Part, check_limits};

/// What every archive begins with, unless it is empty.
pub(crate) const SIGNATURE: &[u8; 4] = b"PK\x03\x04";

/// An archive in memory.
pub struct Archive<'a> {
    bytes: &'a [u8],
    entries: Vec<Entry<'a>>,
}

/// An entry of an archive.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    name: &'a [u8],
    method: u16,
    packed: Range<usize>,
}

impl<'a> Archive<'a> {
    /// Reads the directory.
    ///
    /// # Errors
    /// [`FileReason::LimitsExceeded`] for more than a thousand entries, [`FileReason::Encrypted`] if one of them is, and
    /// [`FileReason::Unreadable`] if it is no archive, if entries overlap or have the same name, or if one would be unpacked to outside
    /// of its folder.
    pub fn open(bytes: &'a [u8]) -> Result<Self, FileReason> {
        let entries = directory::entries(bytes)?;
        Ok(Self { bytes, entries })
    }

    /// The entries, in the order of the directory.
    pub fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    /// The entry of this name; case does not matter, as in packages of Office Open XML.
    pub fn find(&self, name: &str) -> Option<&Entry<'a>> {
        self.entries
            .iter()
            .find(|entry| entry.name.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// What an entry contains.
    ///
    /// # Errors
    /// [`FileReason::LimitsExceeded`] for more than `most` bytes, [`FileReason::Unreadable`] if it cannot be unpacked.
    pub fn read(&self, entry: &Entry<'_>, most: usize) -> Result<Vec<u8>, FileReason> {
        let mut content = Vec::new();
        self.unpack(entry, &mut |piece| {
            if content.len() + piece.len() > most {
                return Err(FileReason::LimitsExceeded);
            }
            content.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(content)
    }

    /// Hands out what an entry contains, piece by piece, until `take` fails.
    fn unpack(
        &self,
        entry: &Entry<'_>,
        take: &mut dyn FnMut(&[u8]) -> Result<(), FileReason>,
    ) -> Result<(), FileReason> {
        let packed = self.bytes.get(entry.packed.clone()).ok_or(FileReason::Unreadable)?;
        unpack::unpack(entry.method, packed, take)
    }
}

impl Entry<'_> {
    /// Its name, as it is in the archive: usually UTF-8.
    pub fn name(&self) -> &[u8] {
        self.name
    }
}

#[cfg(test)]
mod tests;
