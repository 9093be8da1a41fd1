//! What is in documents that whoever opens them should know.

pub(crate) mod pdf;
mod relationships;
mod word;
pub(crate) mod word_97;

use cura_domain::file::{FileReason, Finding};
use cura_domain::file_type::FileType;

/// What is in a document; of a picture, nothing. Also holds archives against their limits.
///
/// # Errors
/// Why nothing can be said of it.
pub(crate) fn findings(file_type: FileType, bytes: &[u8]) -> Result<Vec<Finding>, FileReason> {
    match file_type {
        FileType::Pdf => pdf::findings(&mut pdf::open(bytes)?, bytes),
        FileType::Docx => word::findings(bytes),
        FileType::Doc => word_97::findings(bytes),
        FileType::Jpeg | FileType::Png | FileType::Gif | FileType::Webp => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests;
