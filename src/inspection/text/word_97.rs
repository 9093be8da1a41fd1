//! The text of documents of Word 97 to 2003 ([MS-DOC]), and of those that Word 6 and 95 left in such a file.
//!
//! A table of pieces says where the characters are, and which of them take one byte. What comes out is no longer than a document may
//! be, whatever the table says.

mod characters;
mod header;
mod pieces;

use std::io::Read;

use cura_domain::file::FileReason;

use super::DocumentText;
use super::pages::Pages;
use crate::documents::word_97::open;
use characters::Characters;
use header::Header;

/// The most bytes of a stream: a file is not larger.
const MAX_STREAM_BYTES: u64 = cura_domain::file::MAX_FILE_BYTES;

/// The text of a DOC, as one page.
///
/// # Errors
/// [`FileReason::Encrypted`], [`FileReason::Unreadable`]
pub(super) fn text(bytes: &[u8]) -> Result<DocumentText, FileReason> {
    let mut file = open(bytes)?;
    let mut stream = |name: &str| -> Result<Vec<u8>, FileReason> {
        let mut content = Vec::new();
        let opened = file.open_stream(name).map_err(|_| FileReason::Unreadable)?;
        let read = opened.take(MAX_STREAM_BYTES).read_to_end(&mut content);
        read.map(|_| content).map_err(|_| FileReason::Unreadable)
    };
    let document = stream("/WordDocument")?;
    let header = Header::read(&document)?;
    let mut text = Pages::new();
    let mut characters = Characters::new(&mut text);
    match header {
        // Text that does not fit is cut.
        Header::Old { text } => drop(characters.push_bytes(document.get(text).ok_or(FileReason::Unreadable)?)),
        Header::Pieces {
            table,
            pieces,
            left_out,
        } => {
            let table = stream(table)?;
            let pieces = pieces::read(table.get(pieces).ok_or(FileReason::Unreadable)?)?;
            for piece in &pieces {
                if piece.push(&document, &left_out, &mut characters)?.is_err() {
                    break;
                }
            }
        }
    }
    Ok(text.finish(None))
}
