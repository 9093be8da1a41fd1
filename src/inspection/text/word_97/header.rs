//! The table of facts at the beginning of a document, the FIB ([MS-DOC], section 2.5).

use std::ops::Range;

use cura_domain::file::FileReason;

/// The first version with a table of pieces in a stream of its own: Word 97.
const WORD_97: u16 = 0x00c1;
const ENCRYPTED: u16 = 0x0100;
const SECOND_TABLE: u16 = 0x0200;
/// Where the fields are (sections 2.5.2, 2.5.4, 2.5.6): those before the first table are the same in all versions.
const VERSION: usize = 0x02;
const FLAGS: usize = 0x0a;
const TEXT_BEGINS: usize = 0x18;
const TEXT_ENDS: usize = 0x1c;
const LENGTHS: usize = 0x4c;
const PIECES: usize = 0x01a2;
/// The parts of the text one after the other: body, footnotes, headers, macros, comments, endnotes, text boxes, those of headers.
const PARTS: usize = 8;
const COMMENTS: usize = 4;

/// What says where the text is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// Word 6 and 95: in one piece.
    Old {
        /// The bytes of the document.
        text: Range<usize>,
    },
    /// Word 97 and later.
    Pieces {
        /// The name of the stream with the table.
        table: &'static str,
        /// Where it is in there.
        pieces: Range<usize>,
        /// The characters that are comments.
        left_out: Range<u32>,
    },
}

impl Header {
    pub(super) fn read(document: &[u8]) -> Result<Self, FileReason> {
        let number = |at: usize| number(document, at);
        let (version, flags) = (half(document, VERSION)?, half(document, FLAGS)?);
        if flags & ENCRYPTED != 0 {
            return Err(FileReason::Encrypted);
        }
        if version < WORD_97 {
            let text = as_usize(number(TEXT_BEGINS)?)..as_usize(number(TEXT_ENDS)?);
            return Ok(Self::Old { text });
        }
        let mut left_out = 0..0;
        let mut end = 0_u32;
        for part in 0..PARTS {
            let begin = end;
            end = end
                .checked_add(number(LENGTHS + part * 4)?)
                .ok_or(FileReason::Unreadable)?;
            if part == COMMENTS {
                left_out = begin..end;
            }
        }
        let begin = as_usize(number(PIECES)?);
        let length = as_usize(number(PIECES + 4)?);
        Ok(Self::Pieces {
            table: if flags & SECOND_TABLE == 0 {
                "/0Table"
            } else {
                "/1Table"
            },
            pieces: begin..begin.checked_add(length).ok_or(FileReason::Unreadable)?,
            left_out,
        })
    }
}

/// The number at a place.
pub(super) fn number(bytes: &[u8], at: usize) -> Result<u32, FileReason> {
    let bytes = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    bytes
        .map(|bytes| u32::from_le_bytes(*bytes))
        .ok_or(FileReason::Unreadable)
}

/// The number of two bytes at a place.
pub(super) fn half(bytes: &[u8], at: usize) -> Result<u16, FileReason> {
    let bytes = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    bytes
        .map(|bytes| u16::from_le_bytes(*bytes))
        .ok_or(FileReason::Unreadable)
}

/// Larger than any file if it does not fit.
pub(super) fn as_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
