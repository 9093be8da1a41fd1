//! The records at the end of an archive, which say where its directory is. Archives that are large, or might have become it, have a long
//! one before the short one, and a locator between them.

use std::io::{Read, Seek};

use cura_domain::file_type::Refusal;

use crate::scan::detect::contents::Contents;
use crate::scan::detect::fields::Fields;
use crate::scan::detect::{Looked, as_usize};

/// The short record without its comment, which is at most `u16::MAX` bytes long.
const SHORT_BYTES: usize = 22;
const SHORT: [u8; 4] = *b"PK\x05\x06";
const LONG_BYTES: usize = 56;
const LONG: u32 = u32::from_le_bytes(*b"PK\x06\x06");
/// What the length that the long record states does not count.
const OUTSIDE_BYTES: u64 = 12;
const LOCATOR_BYTES: u64 = 20;
const LOCATOR: u32 = u32::from_le_bytes(*b"PK\x06\x07");

/// What the records say.
pub(super) struct End {
    pub(super) entries: u64,
    /// Of the directory, in bytes.
    pub(super) length: u64,
    /// Where the directory begins.
    pub(super) start: u64,
}

impl End {
    /// Finds the last record; gives also where the directory must end.
    pub(super) fn find<F: Read + Seek>(contents: &mut Contents<'_, F>) -> Looked<(Self, u64)> {
        let size = contents.size();
        let tail_length = (SHORT_BYTES + usize::from(u16::MAX)).min(as_usize(size));
        let tail_start = size - tail_length as u64;
        let tail = contents.read_at(tail_start, tail_length)?;
        let is_end = |at: &usize| tail[*at..].starts_with(&SHORT);
        let last = tail_length
            .checked_sub(SHORT_BYTES)
            .and_then(|last| (0..=last).rev().find(is_end));
        let at = last.ok_or(Refusal::Damaged)?;
        let mut end = Self::short(&tail[at..])?;
        let mut end_at = tail_start + at as u64;
        if let Some(long_at) = Self::long_at(contents, end_at)? {
            let long = Self::long(
                &contents.read_at(long_at, LONG_BYTES)?,
                end_at - LOCATOR_BYTES - long_at,
            )?;
            end = end.completed_by(long)?;
            end_at = long_at;
        }
        Ok((end, end_at))
    }

    /// Where the long record is, if the short one at `end_at` has one before it.
    fn long_at<F: Read + Seek>(contents: &mut Contents<'_, F>, end_at: u64) -> Looked<Option<u64>> {
        let Some(locator_at) = end_at.checked_sub(LOCATOR_BYTES) else {
            return Ok(None);
        };
        let locator = contents.read_at(locator_at, as_usize(LOCATOR_BYTES))?;
        let mut fields = Fields(&locator);
        if fields.u32()? != LOCATOR {
            return Ok(None);
        }
        let (disk, at, disks) = (fields.u32()?, fields.u64()?, fields.u32()?);
        let is_right = disk == 0 && disks <= 1 && at < locator_at;
        Ok(Some(is_right.then_some(at).ok_or(Refusal::Damaged)?))
    }

    /// Reads the short record, at the beginning of `tail`.
    fn short(tail: &[u8]) -> Result<Self, Refusal> {
        let mut fields = Fields(tail);
        fields.skip(SHORT.len())?;
        let disks = (fields.u16()?, fields.u16()?);
        let (here, entries) = (fields.u16()?, fields.u16()?);
        let (length, start) = (fields.u32()?, fields.u32()?);
        let comment = fields.u16()?;
        fields.skip(comment.into())?;
        let is_one_file = matches!(disks, (0 | u16::MAX, 0 | u16::MAX)) && here == entries;
        let end = Self {
            entries: entries.into(),
            length: length.into(),
            start: start.into(),
        };
        is_one_file.then_some(end).ok_or(Refusal::Damaged)
    }

    /// Reads the long record, which has `length` bytes.
    fn long(record: &[u8], length: u64) -> Result<Self, Refusal> {
        let mut fields = Fields(record);
        let (signature, stated) = (fields.u32()?, fields.u64()?);
        let _versions = fields.u32()?;
        let disks = (fields.u32()?, fields.u32()?);
        let (here, entries) = (fields.u64()?, fields.u64()?);
        let (directory, start) = (fields.u64()?, fields.u64()?);
        let is_right = signature == LONG
            && stated.checked_add(OUTSIDE_BYTES) == Some(length)
            && disks == (0, 0)
            && here == entries;
        let end = Self {
            entries,
            length: directory,
            start,
        };
        is_right.then_some(end).ok_or(Refusal::Damaged)
    }

    /// The long record, with which the short one must agree where it says anything.
    fn completed_by(self, long: Self) -> Result<Self, Refusal> {
        let agree = |short: u64, long: u64, unknown: u64| short == long || short == unknown;
        let is_right = agree(self.entries, long.entries, u16::MAX.into())
            && agree(self.length, long.length, u32::MAX.into())
            && agree(self.start, long.start, u32::MAX.into());
        is_right.then_some(long).ok_or(Refusal::Damaged)
    }
}
