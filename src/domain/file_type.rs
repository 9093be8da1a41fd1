//! The type of a file. Its content decides, never its name or what a client calls it.
//!
//! A file is of a type if its first byte begins the signature and its end is there. What follows the end of a picture is allowed:
//! cameras put the film of a motion photo behind it. Whoever reads files gathers the facts; here is what they mean.

mod archive;
mod compound;
mod foreign;
pub mod hint;
mod signature;

pub use archive::{
    ArchiveFacts, CONTENT_TYPES, MAIN_PART, MainPart, declares_macros, is_macro_part, is_of_other_document,
};
pub use compound::of_compound;
pub use signature::{HEAD_BYTES, Signature, signature};

use thiserror::Error;

use crate::stored_words::stored_words;

/// How many bytes at the end of a PDF must hold its end mark: so many are what readers look through.
pub const PDF_TAIL_BYTES: usize = 1024;

stored_words!(
    /// A type of file that people may upload.
    FileType {
        /// A JPEG photo.
        Jpeg = "jpeg",
        /// A PNG picture.
        Png = "png",
        /// A GIF picture, moving or not.
        Gif = "gif",
        /// A WebP picture, moving or not.
        Webp = "webp",
        /// A PDF document.
        Pdf = "pdf",
        /// A document of Word 97 to 2003.
        Doc = "doc",
        /// A Word document without macros (Office Open XML).
        Docx = "docx",
    }
);

/// Why a file is not taken. Its text is for the person who sent it, and says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Of no type that is taken.
    #[error("{hint}")]
    Unsupported {
        /// What to send instead: one of [`hint`].
        hint: &'static str,
    },
    /// It begins as a type that is taken, but its end or something that it needs is missing.
    #[error("The file is damaged or incomplete. Open it to see whether it is whole, then send it again.")]
    Damaged,
}

impl FileType {
    /// Every type.
    pub const ALL: [Self; 7] = [
        Self::Jpeg,
        Self::Png,
        Self::Gif,
        Self::Webp,
        Self::Pdf,
        Self::Doc,
        Self::Docx,
    ];

    /// The registered media type, which is what a file is served as.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
            Self::Pdf => "application/pdf",
            Self::Doc => "application/msword",
            Self::Docx => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        }
    }

    /// The usual end of its files' names, without the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::Gif => "gif",
            Self::Webp => "webp",
            Self::Pdf => "pdf",
            Self::Doc => "doc",
            Self::Docx => "docx",
        }
    }

    /// Whether names of its files may end like this, in whatever case: `jpeg` is as good as `jpg`.
    pub fn may_end_in(self, extension: &str) -> bool {
        let others: &[&str] = match self {
            Self::Jpeg => &["jpeg", "jpe", "jfif"],
            Self::Png => &["apng"],
            Self::Gif | Self::Webp | Self::Pdf | Self::Doc | Self::Docx => &[],
        };
        others
            .iter()
            .chain([&self.extension()])
            .any(|known| known.eq_ignore_ascii_case(extension))
    }

    /// Whether it is a picture; the others are documents.
    pub const fn is_picture(self) -> bool {
        matches!(self, Self::Jpeg | Self::Png | Self::Gif | Self::Webp)
    }
}

/// Whether the last bytes of a PDF hold its end mark.
pub fn is_end_of_pdf(tail: &[u8]) -> bool {
    let begin = tail.len().saturating_sub(PDF_TAIL_BYTES);
    tail[begin..].windows(5).any(|bytes| bytes == b"%%EOF")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_stored_as_a_word_and_found_by_it() {
        for file_type in FileType::ALL {
            assert_eq!(FileType::from_word(file_type.as_str()), Some(file_type));
            assert!(file_type.may_end_in(file_type.extension()));
            assert!(file_type.may_end_in(&file_type.extension().to_uppercase()));
            assert!(!file_type.may_end_in("exe") && !file_type.may_end_in(""));
        }
        assert_eq!(FileType::from_word("heic"), None);
        assert!(FileType::Jpeg.may_end_in("JPEG") && !FileType::Docx.may_end_in("doc"));
    }

    #[test]
    fn a_pdf_ends_within_its_last_1024_bytes() {
        let followed_by = |bytes: usize| [&b"%%EOF"[..], &vec![b'\n'; bytes]].concat();
        assert!(is_end_of_pdf(&followed_by(0)) && is_end_of_pdf(&followed_by(PDF_TAIL_BYTES - 5)));
        assert!(!is_end_of_pdf(&followed_by(PDF_TAIL_BYTES - 4)));
        assert!(!is_end_of_pdf(b"%%EO") && !is_end_of_pdf(b""));
    }
}
