//! The directory of an archive: where it is, and what it lists.

use std::collections::HashSet;

use cura_domain::file::FileReason;

use super::fields::Fields;
use super::limits::MAX_ENTRIES;
use super::{Entry, SIGNATURE};

const END: &[u8; 4] = b"PK\x05\x06";
const END_BYTES: usize = 22;
/// The end record of archives that are large or might have become it, before the usual one, and the locator between them.
const LONG_END: u32 = u32::from_le_bytes(*b"PK\x06\x06");
const LOCATOR: u32 = u32::from_le_bytes(*b"PK\x06\x07");
const LOCATOR_BYTES: usize = 20;
const LISTED: u32 = u32::from_le_bytes(*b"PK\x01\x02");
/// The extra field with numbers that are too large for the others.
const LONG_NUMBERS: u16 = 1;
/// Encrypted, in one way or the other (general purpose bits 0, 6 and 13).
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;

/// The entries, each of which lies before the directory as a whole and apart from the others.
pub(super) fn entries(bytes: &[u8]) -> Result<Vec<Entry<'_>>, FileReason> {
    let (start, end, count) = place(bytes)?;
    if count > MAX_ENTRIES as u64 {
        return Err(FileReason::LimitsExceeded);
    }
    let mut fields = Fields(bytes.get(start..end).ok_or(FileReason::Unreadable)?);
    let mut entries = Vec::new();
    let mut names = HashSet::new();
    for _ in 0..count {
        let (at, packed, entry) = listed(&mut fields)?;
        let entry = with_place(&bytes[..start], at, packed, entry)?;
        // Readers differ in which of two entries of a name they take.
        if !is_inside(entry.name) || !names.insert(entry.name.to_ascii_lowercase()) {
            return Err(FileReason::Unreadable);
        }
        entries.push((at, entry));
    }
    entries.sort_by_key(|(at, _)| *at);
    let overlap = entries.windows(2).any(|pair| pair[0].1.packed.end > pair[1].0);
    if overlap || !fields.0.is_empty() {
        return Err(FileReason::Unreadable);
    }
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

/// Where the directory begins and ends, and how many entries it has.
fn place(bytes: &[u8]) -> Result<(usize, usize, u64), FileReason> {
    let last = bytes.len().checked_sub(END_BYTES).ok_or(FileReason::Unreadable)?;
    let first = last.saturating_sub(u16::MAX.into());
    let found = (first..=last).rev().find(|at| bytes[*at..].starts_with(END));
    let mut end_at = found.ok_or(FileReason::Unreadable)?;
    let mut fields = Fields::at(bytes, end_at + END.len())?;
    fields.skip(6)?;
    let mut count = u64::from(fields.u16()?);
    let (mut length, mut start) = (u64::from(fields.u32()?), u64::from(fields.u32()?));
    let comment = fields.u16()?;
    fields.skip(comment.into())?;
    if let Some(locator_at) = end_at.checked_sub(LOCATOR_BYTES) {
        let mut locator = Fields::at(bytes, locator_at)?;
        if locator.u32()? == LOCATOR {
            locator.skip(4)?;
            end_at = as_usize(locator.u64()?)?;
            let mut long = Fields::at(bytes, end_at)?;
            if long.u32()? != LONG_END {
                return Err(FileReason::Unreadable);
            }
            let own_length = long.u64()?;
            // Versions, disks, and the entries of this disk.
            long.skip(20)?;
            let numbers = (long.u64()?, long.u64()?, long.u64()?);
            // Some readers take the usual record where its numbers are not too large for it.
            let is_same = may_be(count, u16::MAX.into(), numbers.0)
                && may_be(length, u32::MAX.into(), numbers.1)
                && may_be(start, u32::MAX.into(), numbers.2)
                && (end_at as u64 + 12).checked_add(own_length) == Some(locator_at as u64);
            if !is_same {
                return Err(FileReason::Unreadable);
            }
            (count, length, start) = numbers;
        }
    }
    let is_right = start.checked_add(length) == Some(end_at as u64);
    is_right
        .then_some((as_usize(start)?, end_at, count))
        .ok_or(FileReason::Unreadable)
}

/// Whether a number may stand for a long one: it is the same, or says that it is too large.
const fn may_be(number: u64, too_large: u64, long: u64) -> bool {
    number == long || number == too_large
}

/// What the directory says of the next entry: where its header is, how long it is, its name and method.
fn listed<'a>(fields: &mut Fields<'a>) -> Result<(usize, usize, Entry<'a>), FileReason> {
    if fields.u32()? != LISTED {
        return Err(FileReason::Unreadable);
    }
    fields.skip(4)?;
    let (flags, method) = (fields.u16()?, fields.u16()?);
    if flags & ENCRYPTED != 0 {
        return Err(FileReason::Encrypted);
    }
    fields.skip(8)?;
    let (mut packed, mut unpacked) = (u64::from(fields.u32()?), u64::from(fields.u32()?));
    let (name, extra, comment) = (fields.u16()?, fields.u16()?, fields.u16()?);
    fields.skip(8)?;
    let mut at = u64::from(fields.u32()?);
    let name = fields.bytes(name.into())?;
    let mut long = Fields(long_numbers(fields.bytes(extra.into())?));
    fields.skip(comment.into())?;
    // In this order, each only where it is needed.
    for number in [&mut unpacked, &mut packed, &mut at] {
        if *number == u64::from(u32::MAX) {
            *number = long.u64()?;
        }
    }
    let entry = Entry {
        name,
        method,
        packed: 0..0,
    };
    Ok((as_usize(at)?, as_usize(packed)?, entry))
}

/// The entry with the place of its content, which stands after its header. The header must say the same as the directory.
fn with_place<'a>(before: &'a [u8], at: usize, packed: usize, entry: Entry<'a>) -> Result<Entry<'a>, FileReason> {
    let mut header = Fields::at(before, at)?;
    let signature = header.bytes(SIGNATURE.len())?;
    header.skip(2)?;
    let (flags, method) = (header.u16()?, header.u16()?);
    header.skip(16)?;
    let (name, extra) = (header.u16()?, header.u16()?);
    let name = header.bytes(name.into())?;
    header.skip(extra.into())?;
    let is_same = signature == SIGNATURE && flags & ENCRYPTED == 0 && method == entry.method && name == entry.name;
    let start = before.len() - header.0.len();
    header.skip(packed)?;
    let packed = start..start + packed;
    is_same
        .then_some(Entry { packed, ..entry })
        .ok_or(FileReason::Unreadable)
}

/// Whether an entry of this name would be unpacked into the folder that is meant, on every system.
fn is_inside(name: &[u8]) -> bool {
    let is_absolute = matches!(name, [b'/' | b'\\', ..] | [_, b':', ..]);
    let goes_up = name
        .split(|byte| matches!(byte, b'/' | b'\\'))
        .any(|part| part == b"..");
    !name.is_empty() && !is_absolute && !goes_up && !name.contains(&0)
}

fn long_numbers(extra: &[u8]) -> &[u8] {
    let mut fields = Fields(extra);
    while let (Ok(kind), Ok(length)) = (fields.u16(), fields.u16()) {
        match fields.bytes(length.into()) {
            Ok(numbers) if kind == LONG_NUMBERS => return numbers,
            Ok(_) => {}
            Err(_) => break,
        }
    }
    &[]
}

fn as_usize(number: u64) -> Result<usize, FileReason> {
    usize::try_from(number).map_err(|_| FileReason::Unreadable)
}
