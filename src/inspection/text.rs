//! The text of documents, as the model reads it.

mod pages;
mod pdf;
mod word;
mod word_97;

use cura_domain::file::FileReason;
use cura_domain::file_type::FileType;

pub(crate) use pdf::{text_of_document as text_of_pdf, time_taken};

/// The most text that is taken of a document, in bytes of UTF-8: several times what fits into a prompt.
pub const MAX_TEXT_BYTES: usize = 400_000;

/// The text of a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DocumentText {
    /// The text of each page from the first; a document without pages, as those of Word, is one. No page has a form feed in it.
    /// A page without text stays, so that the others keep their numbers; all empty means that nothing was readable.
    pub pages: Vec<String>,
    /// How many pages the document has, read or not; `None` where it does not say.
    pub page_count: Option<u32>,
    /// Whether text was left out because it was longer than [`MAX_TEXT_BYTES`].
    pub is_cut: bool,
}

/// The text of a document; none of a picture. At most [`MAX_TEXT_BYTES`] in all.
///
/// # Errors
/// [`FileReason::Encrypted`], [`FileReason::LimitsExceeded`], or [`FileReason::Unreadable`] for what no reader could open. A
/// document that has no readable text, as a scanned one, is no error.
pub fn text_of(file_type: FileType, bytes: &[u8]) -> Result<DocumentText, FileReason> {
    match file_type {
        FileType::Jpeg | FileType::Png | FileType::Gif | FileType::Webp => Ok(DocumentText::default()),
        FileType::Pdf => pdf::text(bytes),
        FileType::Docx => word::text(bytes),
        FileType::Doc => word_97::text(bytes),
    }
}

#[cfg(test)]
mod tests;
