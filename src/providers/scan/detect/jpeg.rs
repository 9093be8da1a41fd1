//! JPEG: markers from the start of the image to its end (ITU-T T.81, annex B).

use std::io::{Read, Seek};

use cura_domain::file_type::Refusal;

use super::Looked;
use super::contents::Contents;

/// Every marker begins with it; any number of them may stand before the second byte.
const MARKER: u8 = 0xff;
const START_OF_IMAGE: u8 = 0xd8;
const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;

/// Walks to the end of the picture. There must be at least one scan. A preview inside lies in a segment, so its end is not taken for
/// that of the photo.
pub(super) fn find_end<F: Read + Seek>(contents: &mut Contents<'_, F>) -> Looked<()> {
    // Behind the first marker.
    contents.seek(2)?;
    let mut has_scan = false;
    loop {
        // The data of a scan, and strange bytes between segments, which decoders leave out, too.
        contents.skip_until(MARKER)?;
        let mut marker = contents.byte()?;
        while marker == MARKER {
            marker = contents.byte()?;
        }
        match marker {
            // A byte of data, and markers without a segment.
            0x00 | 0x01 | 0xd0..=0xd7 => {}
            END_OF_IMAGE if has_scan => return Ok(()),
            END_OF_IMAGE | START_OF_IMAGE => return Err(Refusal::Damaged.into()),
            _ => {
                // The length counts its own two bytes.
                let length = u16::from_be_bytes(contents.array()?)
                    .checked_sub(2)
                    .ok_or(Refusal::Damaged)?;
                contents.skip(length.into())?;
                has_scan |= marker == START_OF_SCAN;
            }
        }
    }
}
