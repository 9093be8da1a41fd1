//! PNG: chunks from `IHDR` to `IEND` (W3C PNG, third edition, section 5).

use std::io::{Read, Seek};

use cura_domain::file_type::Refusal;

use super::Looked;
use super::contents::Contents;

/// The bytes of the signature.
const SIGNATURE_BYTES: u64 = 8;
/// The data of the chunk that must be the first.
const HEADER_BYTES: u32 = 13;
/// The longest data of a chunk.
const MAX_CHUNK_BYTES: u32 = i32::MAX as u32;
/// The checksum behind the data.
const CHECKSUM_BYTES: u64 = 4;

/// Walks to the end of the picture. There must be a header, data and the chunk that ends it; checksums are for decoders.
pub(super) fn find_end<F: Read + Seek>(contents: &mut Contents<'_, F>) -> Looked<()> {
    contents.seek(SIGNATURE_BYTES)?;
    let (mut has_header, mut has_data) = (false, false);
    loop {
        let length = u32::from_be_bytes(contents.array()?);
        let kind: [u8; 4] = contents.array()?;
        let is_right = match &kind {
            b"IHDR" => !has_header && length == HEADER_BYTES,
            b"IEND" => has_data && length == 0,
            _ => has_header && length <= MAX_CHUNK_BYTES,
        };
        if !is_right {
            return Err(Refusal::Damaged.into());
        }
        has_header = true;
        has_data |= &kind == b"IDAT";
        contents.skip(u64::from(length) + CHECKSUM_BYTES)?;
        if &kind == b"IEND" {
            return Ok(());
        }
    }
}
