//! GIF: blocks from the screen to the trailer (GIF89a specification).

use std::io::{Read, Seek};

use cura_domain::file_type::Refusal;

use super::Looked;
use super::contents::Contents;

const SIGNATURE_BYTES: u64 = 6;
const EXTENSION: u8 = 0x21;
const IMAGE: u8 = 0x2c;
const TRAILER: u8 = 0x3b;

/// Walks to the trailer. There must be at least one image.
pub(super) fn find_end<F: Read + Seek>(contents: &mut Contents<'_, F>) -> Looked<()> {
    contents.seek(SIGNATURE_BYTES)?;
    let [_width, _, _height, _, flags, _background, _ratio] = contents.array()?;
    skip_colors(contents, flags)?;
    let mut has_image = false;
    loop {
        match contents.byte()? {
            // Some writers end their blocks twice.
            0 => {}
            EXTENSION => {
                let _label = contents.byte()?;
                skip_data(contents)?;
            }
            IMAGE => {
                let [_left, _, _top, _, _width, _, _height, _, flags] = contents.array()?;
                skip_colors(contents, flags)?;
                let _code_size = contents.byte()?;
                skip_data(contents)?;
                has_image = true;
            }
            TRAILER if has_image => return Ok(()),
            _ => return Err(Refusal::Damaged.into()),
        }
    }
}

/// Leaves out the table of colors that the flags announce: 2 to 256 of three bytes.
fn skip_colors<F: Read + Seek>(contents: &mut Contents<'_, F>, flags: u8) -> Looked<()> {
    if flags & 0x80 == 0 {
        return Ok(());
    }
    contents.skip(3 * (2 << (flags & 7)))
}

/// Leaves out blocks with their length before them, up to the empty one.
fn skip_data<F: Read + Seek>(contents: &mut Contents<'_, F>) -> Looked<()> {
    loop {
        match contents.byte()? {
            0 => return Ok(()),
            length => contents.skip(length.into())?,
        }
    }
}
