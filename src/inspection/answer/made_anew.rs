//! Whether a picture of an answer is built as our encoder builds them: pixels and what decoding them needs, and nothing beside them.
//!
//! Nothing is decoded here. Pixels and tables can be any, and what is made of them is a picture at worst; but there is no place for
//! what a camera notes, for a colour profile, or for another file behind the end.

use super::Encoding;

const JPEG_START: &[u8] = b"\xff\xd8";
const JPEG_END: &[u8] = b"\xff\xd9";
/// The marker of the segment with the size.
const JPEG_FRAME: u8 = 0xc0;
/// The segments of a JPEG before its pixels: marker, how the content begins, and its bytes. `image` writes these, in this order.
const JPEG_SEGMENTS: [(u8, &[u8], usize); 9] = [
    // Version 1.2, square pixels, no thumbnail.
    (0xe0, b"JFIF\0\x01\x02\0\0\x01\0\x01\0\0", 14),
    // 8 bits for a sample; then the size, and three components.
    (JPEG_FRAME, b"\x08", 15),
    // Two tables to quantize with.
    (0xdb, b"\0", 65),
    (0xdb, b"\x01", 65),
    // Four codes.
    (0xc4, b"\0", 29),
    (0xc4, b"\x10", 179),
    (0xc4, b"\x01", 29),
    (0xc4, b"\x11", 179),
    // All three components at once.
    (0xda, b"\x03", 10),
];
const PNG_START: &[u8] = b"\x89PNG\r\n\x1a\n";
/// What follows the size in the header of a PNG: 8 bits for each of four channels, not interlaced.
const PNG_RGBA: &[u8] = b"\x08\x06\0\0\0";

/// Whether the bytes are one picture of this size, and nothing else.
pub(super) fn is_made_anew(encoding: Encoding, width: u32, height: u32, bytes: &[u8]) -> bool {
    match encoding {
        Encoding::Jpeg => is_jpeg(width, height, bytes),
        Encoding::Png => is_png(width, height, bytes),
    }
    .is_some()
}

fn is_jpeg(width: u32, height: u32, bytes: &[u8]) -> Option<()> {
    let side = |length: u32| u16::try_from(length).ok().map(u16::to_be_bytes);
    let size = [side(height)?, side(width)?].concat();
    let mut rest = bytes.strip_prefix(JPEG_START)?;
    for (marker, start, length) in JPEG_SEGMENTS {
        rest = rest.strip_prefix(&[0xff, marker])?;
        // The length counts itself.
        rest = rest.strip_prefix(&u16::try_from(length + 2).ok()?.to_be_bytes())?;
        let (content, behind) = rest.split_at_checked(length)?;
        let content = content.strip_prefix(start)?;
        if marker == JPEG_FRAME && !content.starts_with(&size) {
            return None;
        }
        rest = behind;
    }
    // In what is coded, a zero follows every FF: any other byte there begins something else.
    let mut coded = rest.strip_suffix(JPEG_END)?;
    while let Some(at) = coded.iter().position(|byte| *byte == 0xff) {
        coded = coded.get(at + 1..)?.strip_prefix(b"\0")?;
    }
    Some(())
}

fn is_png(width: u32, height: u32, bytes: &[u8]) -> Option<()> {
    let header = [&width.to_be_bytes(), &height.to_be_bytes(), PNG_RGBA].concat();
    let (first, mut rest) = chunk(bytes.strip_prefix(PNG_START)?)?;
    if first != (b"IHDR", header.as_slice()) {
        return None;
    }
    let mut has_pixels = false;
    loop {
        let (next, behind) = chunk(rest)?;
        match next {
            (b"IDAT", _) => has_pixels = true,
            (b"IEND", b"") => return (has_pixels && behind.is_empty()).then_some(()),
            _ => return None,
        }
        rest = behind;
    }
}

type Chunk<'a> = (&'a [u8; 4], &'a [u8]);

/// A chunk of PNG, its kind and its content, and what follows it. Its checksum is for whoever decodes it.
fn chunk(bytes: &[u8]) -> Option<(Chunk<'_>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (kind, rest) = rest.split_first_chunk()?;
    let (content, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let (_checksum, rest) = rest.split_first_chunk::<4>()?;
    Some(((kind, content), rest))
}

#[cfg(test)]
mod tests;
