//! The directory of a ZIP archive (PKWARE's APPNOTE 6.3.10, section 4.3). Read strictly: the last end record decides, the directory
//! ends where that begins, and nothing stands before the first entry. So every reader sees the same entries as this one.

mod end;

use std::io::{Read, Seek};

use cura_domain::file_type::{Refusal, hint};
use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::contents::Contents;
use super::fields::Fields;
use super::{Looked, as_usize};
use end::End;

/// The most entries. A document of a thousand pages has hundreds.
const MAX_ENTRIES: u64 = 1_000;
/// The longest directory, in bytes: a thousand of each entry.
const MAX_DIRECTORY_BYTES: u64 = 1024 * 1024;
const LOCAL_HEADER_BYTES: usize = 30;
const ENTRY: u32 = u32::from_le_bytes(*b"PK\x01\x02");
const LOCAL_HEADER: u32 = u32::from_le_bytes(*b"PK\x03\x04");
/// The extra field with the numbers that are too large for the others.
const EXTRA_64: u16 = 1;

const UNUSUAL: Refusal = Refusal::Unsupported { hint: hint::UNUSUAL };

/// The directory as it is in the file, and where it is.
pub(super) struct Directory {
    bytes: Vec<u8>,
    start: u64,
    entries: u64,
}

/// What the directory says of one entry.
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    is_encrypted: bool,
    method: u16,
    checksum: u32,
    packed: u64,
    unpacked: u64,
    at: u64,
}

impl Directory {
    /// Finds and reads the directory.
    pub(super) fn read<F: Read + Seek>(contents: &mut Contents<'_, F>) -> Looked<Self> {
        let (end, end_at) = End::find(contents)?;
        if end.start.checked_add(end.length) != Some(end_at) {
            return Err(Refusal::Damaged.into());
        }
        if end.entries > MAX_ENTRIES || end.length > MAX_DIRECTORY_BYTES {
            return Err(UNUSUAL.into());
        }
        Ok(Self {
            bytes: contents.read_at(end.start, as_usize(end.length))?,
            start: end.start,
            entries: end.entries,
        })
    }

    /// Every entry, in the order of the directory. Each lies before it as a whole.
    pub(super) fn entries(&self) -> Result<Vec<Entry<'_>>, Refusal> {
        let mut fields = Fields(&self.bytes);
        let mut entries = Vec::new();
        for _ in 0..self.entries {
            let entry = Entry::read(&mut fields)?;
            let end = [LOCAL_HEADER_BYTES as u64, entry.name.len() as u64, entry.packed]
                .iter()
                .try_fold(entry.at, |end, length| end.checked_add(*length));
            if end.is_none_or(|end| end > self.start) {
                return Err(Refusal::Damaged);
            }
            entries.push(entry);
        }
        fields.0.is_empty().then_some(entries).ok_or(Refusal::Damaged)
    }

    /// What an entry contains, at most `limit` bytes, packed or not.
    pub(super) fn content<F: Read + Seek>(
        &self,
        contents: &mut Contents<'_, F>,
        entry: &Entry<'_>,
        limit: u64,
    ) -> Looked<Vec<u8>> {
        if entry.is_encrypted {
            return Err(Refusal::Unsupported { hint: hint::PASSWORD }.into());
        }
        if entry.packed > limit || entry.unpacked > limit {
            return Err(UNUSUAL.into());
        }
        let header = contents.read_at(entry.at, LOCAL_HEADER_BYTES + entry.name.len())?;
        let start = entry.at + header.len() as u64 + entry.check_header(&header)?;
        if start + entry.packed > self.start {
            return Err(Refusal::Damaged.into());
        }
        let packed = contents.read_at(start, as_usize(entry.packed))?;
        let mut content = Vec::new();
        match entry.method {
            0 => content = packed,
            8 => {
                let unpacking = DeflateDecoder::new(packed.as_slice())
                    .take(limit + 1)
                    .read_to_end(&mut content);
                // There is nothing else that can fail than the packed bytes.
                unpacking.map_err(|_| Refusal::Damaged)?;
            }
            _ => return Err(UNUSUAL.into()),
        }
        let mut checksum = Crc::new();
        checksum.update(&content);
        let is_right = content.len() as u64 == entry.unpacked && checksum.sum() == entry.checksum;
        Ok(is_right.then_some(content).ok_or(Refusal::Damaged)?)
    }
}

impl<'a> Entry<'a> {
    fn read(fields: &mut Fields<'a>) -> Result<Self, Refusal> {
        if fields.u32()? != ENTRY {
            return Err(Refusal::Damaged);
        }
        let _versions = fields.u32()?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        let _changed_at = fields.u32()?;
        let checksum = fields.u32()?;
        let (mut packed, mut unpacked) = (u64::from(fields.u32()?), u64::from(fields.u32()?));
        let (name, extra, comment) = (fields.u16()?, fields.u16()?, fields.u16()?);
        let _disk = fields.u16()?;
        let _attributes = (fields.u16()?, fields.u32()?);
        let mut at = u64::from(fields.u32()?);
        let name = fields.bytes(name.into())?;
        let long = long_numbers(fields.bytes(extra.into())?);
        fields.skip(comment.into())?;
        // In this order, each only where it is needed.
        let mut long = Fields(long);
        for number in [&mut unpacked, &mut packed, &mut at] {
            if *number == u64::from(u32::MAX) {
                *number = long.u64()?;
            }
        }
        Ok(Self {
            name,
            is_encrypted: flags & 1 == 1,
            method,
            checksum,
            packed,
            unpacked,
            at,
        })
    }

    /// Checks the header before an entry's content against the directory; gives the length of the extra field between them.
    fn check_header(&self, header: &[u8]) -> Result<u64, Refusal> {
        let mut fields = Fields(header);
        let signature = fields.u32()?;
        let _version = fields.u16()?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        // Time, checksum and sizes, which stand behind the content in archives that were written as a stream.
        fields.skip(16)?;
        let (name_length, extra) = (fields.u16()?, fields.u16()?);
        let is_right = signature == LOCAL_HEADER
            && flags & 1 == 0
            && method == self.method
            && usize::from(name_length) == self.name.len()
            && fields.0 == self.name;
        is_right.then_some(extra.into()).ok_or(Refusal::Damaged)
    }
}

/// The extra field with long numbers; empty if there is none, or if the fields are none.
fn long_numbers(extra: &[u8]) -> &[u8] {
    let mut fields = Fields(extra);
    while let (Ok(kind), Ok(length)) = (fields.u16(), fields.u16()) {
        match fields.bytes(length.into()) {
            Ok(numbers) if kind == EXTRA_64 => return numbers,
            Ok(_) => {}
            Err(_) => break,
        }
    }
    &[]
}
