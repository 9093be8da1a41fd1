//! How many frames a picture has. What it says of itself is not trusted, and nothing is decoded: the parts that frames are made of
//! are counted.

use cura_domain::file_type::FileType;

/// The number of frames, or any number beyond `enough` if there are more than that. Of a picture that is cut short, those that are there.
pub(super) fn count(file_type: FileType, bytes: &[u8], enough: usize) -> usize {
    let frames: Box<dyn Iterator<Item = ()>> = match file_type {
        FileType::Gif => Box::new(gif(bytes)),
        FileType::Png => Box::new(chunks(bytes, 8, png_chunk).filter(|kind| kind == b"fcTL").map(drop)),
        FileType::Webp => Box::new(chunks(bytes, 12, riff_chunk).filter(|kind| kind == b"ANMF").map(drop)),
        FileType::Jpeg | FileType::Pdf | FileType::Doc | FileType::Docx => return 1,
    };
    frames.take(enough.saturating_add(1)).count().max(1)
}

type Kind = [u8; 4];

/// The kinds of the parts that follow each other from `start` on; `read` gives the kind of one and its length.
fn chunks(bytes: &[u8], start: usize, read: fn(&[u8]) -> Option<(Kind, usize)>) -> impl Iterator<Item = Kind> {
    let mut rest = bytes.get(start..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (kind, length) = read(rest)?;
        rest = rest.get(length..).unwrap_or_default();
        Some(kind)
    })
}

/// A chunk of PNG: length, kind, content, checksum.
fn png_chunk(bytes: &[u8]) -> Option<(Kind, usize)> {
    let (length, rest) = bytes.split_first_chunk()?;
    let kind = *rest.first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    (&kind != b"IEND").then_some((kind, length.checked_add(12)?))
}

/// A chunk of RIFF: kind, length, content, and a byte if the length is odd.
fn riff_chunk(bytes: &[u8]) -> Option<(Kind, usize)> {
    let (kind, rest) = bytes.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*rest.first_chunk()?)).ok()?;
    Some((*kind, length.checked_add(8)?.checked_add(length % 2)?))
}

/// The frames of a GIF.
fn gif(bytes: &[u8]) -> impl Iterator<Item = ()> {
    // Signature, then the screen: its size, its colour table's, two more bytes.
    let colours = bytes.get(10).map_or(0, |packed| colour_table(*packed));
    let mut rest = bytes.get(13 + colours..).unwrap_or_default();
    std::iter::from_fn(move || {
        loop {
            match *rest.first()? {
                // An extension and its label.
                0x21 => rest = after_blocks(rest.get(2..)?)?,
                // A frame: place, size, colour table, the size of codes.
                0x2c => {
                    let colours = colour_table(*rest.get(9)?);
                    rest = rest.get(11 + colours..).and_then(after_blocks).unwrap_or_default();
                    return Some(());
                }
                _ => return None,
            }
        }
    })
}

/// How long the colour table is that a screen or a frame has.
fn colour_table(packed: u8) -> usize {
    if packed & 0x80 == 0 { 0 } else { 3 << ((packed & 7) + 1) }
}

/// What follows blocks of data, each after its length, the last one empty.
fn after_blocks(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (length, rest) = bytes.split_first()?;
        bytes = rest.get(usize::from(*length)..)?;
        if *length == 0 {
            return Some(bytes);
        }
    }
}
