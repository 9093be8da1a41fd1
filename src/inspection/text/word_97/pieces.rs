//! The table of pieces, the Clx ([MS-DOC], section 2.9.38).

use std::ops::Range;

use cura_domain::file::FileReason;

use super::characters::Characters;
use super::header::{as_usize, half, number};
use crate::text::pages::Full;

/// What a part of the table begins with: properties, or the pieces.
const PROPERTIES: u8 = 1;
const PIECES: u8 = 2;
/// A place in the text takes 4 bytes, what is said of a piece 8.
const PLACE_BYTES: usize = 4;
const PIECE_BYTES: usize = 8;
/// Of a place in the stream: its characters take one byte, and it is twice what it should be.
const ONE_BYTE: u32 = 1 << 30;

/// Characters that lie together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Which ones of the text.
    places: Range<u32>,
    /// Where the first one is in the stream.
    at: usize,
    is_one_byte: bool,
}

/// The pieces, in the order of the text.
pub(super) fn read(mut table: &[u8]) -> Result<Vec<Piece>, FileReason> {
    loop {
        match table.first() {
            Some(&PROPERTIES) => {
                let length = usize::from(half(table, 1)?);
                table = table.get(3 + length..).ok_or(FileReason::Unreadable)?;
            }
            Some(&PIECES) => {
                let length = as_usize(number(table, 1)?);
                let list = table.get(5..).and_then(|list| list.get(..length));
                return pieces(list.ok_or(FileReason::Unreadable)?);
            }
            _ => return Err(FileReason::Unreadable),
        }
    }
}

fn pieces(list: &[u8]) -> Result<Vec<Piece>, FileReason> {
    let count = list.len().saturating_sub(PLACE_BYTES) / (PLACE_BYTES + PIECE_BYTES);
    let mut pieces = Vec::new();
    for n in 0..count {
        let places = number(list, n * PLACE_BYTES)?..number(list, (n + 1) * PLACE_BYTES)?;
        // Places only grow, so that all pieces together are as long as the text.
        if places.start > places.end {
            return Err(FileReason::Unreadable);
        }
        let at = number(list, (count + 1) * PLACE_BYTES + n * PIECE_BYTES + 2)?;
        let is_one_byte = at & ONE_BYTE != 0;
        let at = as_usize(at & (ONE_BYTE - 1));
        pieces.push(Piece {
            places,
            at: if is_one_byte { at / 2 } else { at },
            is_one_byte,
        });
    }
    Ok(pieces)
}

impl Piece {
    /// Adds its characters but for those that are left out. The inner result says that there is no more room.
    ///
    /// # Errors
    /// [`FileReason::Unreadable`] if they are not in the document.
    pub(super) fn push(
        &self,
        document: &[u8],
        left_out: &Range<u32>,
        to: &mut Characters<'_>,
    ) -> Result<Result<(), Full>, FileReason> {
        let Range { start, end } = self.places;
        let within = |place: u32| place.clamp(start, end);
        // Before and behind what is left out.
        for part in [start..within(left_out.start), within(left_out.end)..end] {
            let (skipped, length) = (
                as_usize(part.start - start),
                as_usize(part.end.saturating_sub(part.start)),
            );
            let width = if self.is_one_byte { 1 } else { 2 };
            let bytes = document
                .get(self.at..)
                .and_then(|bytes| {
                    bytes
                        .get(skipped.checked_mul(width)?..)?
                        .get(..length.checked_mul(width)?)
                })
                .ok_or(FileReason::Unreadable)?;
            let pushed = if self.is_one_byte {
                to.push_bytes(bytes)
            } else {
                to.push_wide(bytes)
            };
            if pushed.is_err() {
                return Ok(pushed);
            }
        }
        Ok(Ok(()))
    }
}
