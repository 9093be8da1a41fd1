//! Numbers in bytes, the lowest byte first. Where one is missing, the file cannot be read.

use cura_domain::file::FileReason;

/// Fields one after the other.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// The fields from `at` on.
    pub(super) fn at(bytes: &'a [u8], at: usize) -> Result<Self, FileReason> {
        bytes.get(at..).map(Self).ok_or(FileReason::Unreadable)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], FileReason> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(FileReason::Unreadable)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn skip(&mut self, count: usize) -> Result<(), FileReason> {
        self.bytes(count).map(drop)
    }

    pub(super) fn u16(&mut self) -> Result<u16, FileReason> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, FileReason> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, FileReason> {
        self.array().map(u64::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FileReason> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(FileReason::Unreadable)?;
        self.0 = rest;
        Ok(*bytes)
    }
}
