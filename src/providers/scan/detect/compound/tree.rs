//! The directory of a compound file: a tree of storages and streams, each of which names those beside and below it.

use cura_domain::file_type::Refusal;

use crate::scan::detect::as_usize;
use crate::scan::detect::fields::Fields;

/// An entry of the directory.
const ENTRY_BYTES: usize = 128;
/// The kinds of entries.
const STORAGE: u8 = 1;
const STREAM: u8 = 2;
const ROOT: u8 = 5;
/// The root has depth 0, what lies at the top 1, and everything below counts as this.
const DEEPEST: u8 = 2;
/// No entry of the directory.
const NOBODY: u32 = 0xffff_ffff;

/// An entry of the directory that can be reached.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) is_root: bool,
    /// A stream that lies in no storage but the root.
    pub(super) is_at_top: bool,
    pub(super) start: u32,
    /// 0 of a storage, which has no bytes of its own.
    pub(super) size: u64,
}

/// Every entry that can be reached from the root.
pub(super) fn read(directory: &[u8], size_mask: u64) -> Result<Vec<Entry>, Refusal> {
    let mut is_visited = vec![false; directory.len() / ENTRY_BYTES];
    let mut entries = Vec::new();
    let mut waiting = vec![(0, 0)];
    while let Some((number, depth)) = waiting.pop() {
        let number = as_usize(u64::from(number));
        let visited = is_visited.get_mut(number).ok_or(Refusal::Damaged)?;
        if std::mem::replace(visited, true) {
            return Err(Refusal::Damaged);
        }
        let record = directory.get(number * ENTRY_BYTES..).unwrap_or_default();
        let mut fields = Fields(record);
        let (name, name_bytes) = (fields.bytes(64)?, fields.u16()?);
        let [kind, _color] = *fields.bytes(2)? else {
            return Err(Refusal::Damaged);
        };
        let [left, right, child] = [fields.u32()?, fields.u32()?, fields.u32()?];
        // Class, state and times.
        fields.skip(36)?;
        let (start, size) = (fields.u32()?, fields.u64()? & size_mask);
        let beside = [(left, depth), (right, depth)];
        let below = (child, DEEPEST.min(depth + 1));
        let (is_stream, relatives): (bool, &[(u32, u8)]) = match (kind, depth) {
            (ROOT, 0) => (false, &[below]),
            (STORAGE, 1..) => (false, &[beside[0], beside[1], below]),
            (STREAM, 1..) => (true, &beside),
            _ => return Err(Refusal::Damaged),
        };
        waiting.extend(relatives.iter().filter(|(number, _)| *number != NOBODY));
        entries.push(Entry {
            name: text(name, name_bytes),
            is_root: kind == ROOT,
            is_at_top: is_stream && depth == 1,
            start,
            size: if kind == STORAGE { 0 } else { size },
        });
    }
    Ok(entries)
}

/// A name in UTF-16, without the zero at its end.
fn text(name: &[u8], bytes: u16) -> String {
    let length = usize::from(bytes).saturating_sub(2).min(name.len());
    let units = name[..length]
        .as_chunks()
        .0
        .iter()
        .map(|unit| u16::from_le_bytes(*unit));
    char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}
