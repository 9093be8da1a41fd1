//! What the files of a conversation hold, before it is decided how much of it a prompt gives.

use std::collections::{HashMap, HashSet};

use super::HistoryMessage;
use crate::FileId;
use crate::file::FileStatus;

/// How many pictures a prompt gives at most: the newest.
pub const MAX_PICTURES: usize = 8;
/// How many documents a prompt gives at most: the newest.
pub const MAX_DOCUMENTS: usize = 10;
/// How many bytes of pictures and PDFs a prompt gives at most: a request to Anthropic has 32 MB, and their encoding takes a third more.
pub const MAX_BYTES_BESIDE_TEXT: u64 = 20 * 1024 * 1024;
/// How many pages a PDF without text has at most that is given as it is.
pub const MAX_PDF_PAGES: u32 = 20;

/// How many pages all of them have together: Anthropic refuses more.
pub const MAX_PAGES_BESIDE_TEXT: u32 = 100;

/// What a clean file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileContent {
    /// A picture that was made of it.
    Picture {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// In bytes.
        bytes: u64,
    },
    /// The text of a document.
    Text {
        /// Its beginning; pages end with a form feed.
        text: String,
        /// Whether that is all of the document's text.
        is_all: bool,
        /// How many pages the document has; `None` where it does not say.
        page_count: Option<u32>,
    },
    /// A PDF in which no text was found.
    Pdf {
        /// Its pages.
        pages: u32,
        /// In bytes.
        bytes: u64,
    },
    /// A document in which nothing was found.
    Nothing,
    /// It was looked for, and is not clean any more, or not there.
    Unknown,
}

/// What is known of files.
pub type FileContents = HashMap<FileId, FileContent>;

/// The files of a history whose content a prompt may give: the newest clean ones, each once.
pub fn may_be_given(newest_first: &[HistoryMessage]) -> Vec<FileId> {
    let (mut pictures, mut documents) = (0, 0);
    let mut seen = HashSet::new();
    let files = newest_first.iter().flat_map(|said| &said.message.files);
    let wanted = files.filter(|file| {
        if file.file.status != FileStatus::Clean || !seen.insert(file.file.id) {
            return false;
        }
        let (number, most) = if file.file.file_type.is_picture() {
            (&mut pictures, MAX_PICTURES)
        } else {
            (&mut documents, MAX_DOCUMENTS)
        };
        *number += 1;
        *number <= most
    });
    wanted.map(|file| file.file.id).collect()
}
