//! WebP: chunks in a RIFF container that says how long it is (RFC 9649).

use std::io::{Read, Seek};

use cura_domain::file_type::Refusal;

use super::Looked;
use super::contents::Contents;

/// What the length of the container does not count: `RIFF` and itself.
const OUTSIDE_BYTES: u64 = 8;
/// The kind and length of a chunk.
const CHUNK_HEADER_BYTES: u64 = 8;

/// Walks through the container, which must be there as a whole, and hold a picture or the frames of one.
pub(super) fn check_webp<F: Read + Seek>(contents: &mut Contents<'_, F>) -> Looked<()> {
    contents.seek(4)?;
    let end = OUTSIDE_BYTES + u64::from(u32::from_le_bytes(contents.array()?));
    if end > contents.size() {
        return Err(Refusal::Damaged.into());
    }
    let _form: [u8; 4] = contents.array()?;
    let mut has_picture = false;
    while contents.at() + CHUNK_HEADER_BYTES <= end {
        let kind: [u8; 4] = contents.array()?;
        let length = u64::from(u32::from_le_bytes(contents.array()?));
        has_picture |= matches!(&kind, b"VP8 " | b"VP8L" | b"ANMF");
        if contents.at() + length > end {
            return Err(Refusal::Damaged.into());
        }
        // An odd chunk is filled up, except by some writers at the end.
        contents.skip((length + length % 2).min(end - contents.at()))?;
    }
    Ok(has_picture.then_some(()).ok_or(Refusal::Damaged)?)
}
