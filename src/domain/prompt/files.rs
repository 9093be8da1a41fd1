//! What a prompt gives of the files of a message: a picture, the text of a document in a fence, a PDF as it is, or only a line that names
//! the file and says why there is no more.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::PromptMessage;
use super::fence::{self, DocumentPart};
use crate::file::{AttachedFile, FileStatus, FileUse, UsedFile};

/// How many UTF-8 bytes the line of a file has at most, beside the name of the file.
pub const LINE_BYTES_BESIDE_THE_NAME: i32 = 160;
/// How many files of an answer's prompt are reported to the person at most, the newest first.
const MAX_REPORTED: usize = 50;

/// A file of a message, and what of it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptFile {
    /// The file.
    pub file: AttachedFile,
    /// What of it is given.
    pub given: Given,
}

/// What a prompt gives of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// Only a line.
    Line(LeftOut),
    /// A picture, whose bytes go before the text of the message.
    Picture {
        /// By the rule of the model.
        tokens: usize,
    },
    /// A PDF as it is, which goes where pictures go: it has no text of its own.
    Pdf {
        /// Its pages.
        pages: u32,
        /// An estimate.
        tokens: usize,
    },
    /// Text of a document.
    Document(DocumentPart),
}

/// Why nothing of a file is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// Nobody looked for its content, or it was not found clean.
    NotRead,
    /// There is no room for it.
    NoRoom,
    /// Nothing in it can be read.
    NoText,
    /// The file store did not give it.
    NotOpened,
    /// A later message has the same file.
    Later,
}

/// What a model takes beside text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Takes {
    /// Pictures.
    pub pictures: bool,
    /// PDFs as they are.
    pub pdfs: bool,
}

impl Takes {
    /// Everything.
    pub const ALL: Self = Self {
        pictures: true,
        pdfs: true,
    };
    /// Text alone.
    pub const TEXT: Self = Self {
        pictures: false,
        pdfs: false,
    };
}

impl PromptFile {
    /// A file of which only a line is given.
    pub const fn named(file: AttachedFile) -> Self {
        Self {
            file,
            given: Given::Line(LeftOut::NotRead),
        }
    }

    /// The same file, of which only a line is given, for want of room.
    pub(super) fn without_content(self) -> Self {
        Self {
            given: Given::Line(LeftOut::NoRoom),
            ..self
        }
    }

    /// Whether its bytes go beside the text to a model that takes this.
    pub const fn goes_beside_text(&self, takes: Takes) -> bool {
        match self.given {
            Given::Picture { .. } => takes.pictures,
            Given::Pdf { .. } => takes.pdfs,
            Given::Line(_) | Given::Document(_) => false,
        }
    }

    /// The tokens of what goes beside the text.
    pub const fn tokens_beside_text(&self) -> usize {
        match self.given {
            Given::Picture { tokens } | Given::Pdf { tokens, .. } => tokens,
            Given::Line(_) | Given::Document(_) => 0,
        }
    }

    /// What the person is told that a model had of it which takes this. `None` where a later message tells it.
    fn used(&self, takes: Takes) -> Option<UsedFile> {
        let (used, pages, page_count) = match &self.given {
            Given::Line(LeftOut::Later) => return None,
            Given::Picture { .. } if takes.pictures => (FileUse::Whole, None, None),
            Given::Pdf { pages, .. } if takes.pdfs => (FileUse::Whole, Some(*pages), Some(*pages)),
            Given::Pdf { pages, .. } => (FileUse::LeftOut, None, Some(*pages)),
            Given::Line(_) | Given::Picture { .. } => (FileUse::LeftOut, None, None),
            Given::Document(part) if part.is_whole => (FileUse::Whole, part.pages, part.page_count),
            Given::Document(part) => (FileUse::Cut, part.pages, part.page_count),
        };
        Some(UsedFile {
            id: self.file.id,
            used,
            pages,
            page_count,
        })
    }

    /// The line that names it, unless a fence does.
    fn line(&self, takes: Takes) -> Option<String> {
        let state = match (self.file.status, &self.given) {
            (_, Given::Document(_)) => return None,
            (_, Given::Picture { .. } | Given::Pdf { .. }) if self.goes_beside_text(takes) => "",
            (_, Given::Picture { .. }) => ": you cannot see pictures, so its content is not given to you",
            (_, Given::Pdf { .. }) => ": no text was found in it, and its pages cannot be shown to you",
            (FileStatus::Storing | FileStatus::Scanning, _) => {
                ": it is still being checked, so its content is not given to you"
            }
            (FileStatus::Infected, _) => ": it was found to be harmful and was deleted",
            (FileStatus::Failed, _) => ": it could not be checked, so its content is not given to you",
            (FileStatus::Clean, Given::Line(reason)) => match reason {
                LeftOut::NotRead => ": its content is not given to you",
                LeftOut::NoRoom => ": there is no room for its content here, so it is not given to you",
                LeftOut::NoText => ": no text was found in it",
                LeftOut::NotOpened => ": it could not be opened, so its content is not given to you",
                LeftOut::Later => ", which belongs to a later message, too",
            },
        };
        Some(format!("[The person has attached the {}{state}.]", naming(&self.file)))
    }
}

/// The kind and name of a file.
fn naming(file: &AttachedFile) -> String {
    let kind = if file.file_type.is_picture() {
        "picture"
    } else {
        "document"
    };
    // On one line and in quotes, so that a name cannot pass for anything else.
    let name = fence::in_quotes(&file.name);
    format!("{kind} \"{name}\"")
}

impl PromptMessage {
    /// The text that is sent to a model that takes this beside it: documents in fences, what was said, and a line for each other file.
    pub fn text(&self, takes: Takes) -> Cow<'_, str> {
        if self.files.is_empty() {
            return Cow::Borrowed(&self.content);
        }
        let mut text = String::new();
        for file in &self.files {
            if let Given::Document(part) = &file.given {
                part.write(&file.file.name, &mut text);
                text.push_str("\n\n");
            }
        }
        text.push_str(&self.content);
        self.add_lines(&mut text, |file| file.line(takes));
        Cow::Owned(text)
    }

    /// What was said, and the names of its files: for titles and summaries.
    pub fn text_with_names(&self) -> Cow<'_, str> {
        if self.files.is_empty() {
            return Cow::Borrowed(&self.content);
        }
        let mut text = self.content.clone();
        self.add_lines(&mut text, |file| {
            Some(format!("[The person has attached the {}.]", naming(&file.file)))
        });
        Cow::Owned(text)
    }

    fn add_lines(&self, text: &mut String, line: impl Fn(&PromptFile) -> Option<String>) {
        for (nth, line) in self.files.iter().filter_map(line).enumerate() {
            if !text.trim_end().is_empty() {
                text.push_str(if nth == 0 { "\n\n" } else { "\n" });
            }
            // Writing to a string does not fail.
            let _ = write!(text, "{line}");
        }
        text.truncate(text.trim_end().len());
    }

    /// Its files whose bytes go beside the text to a model that takes this.
    pub fn beside_text(&self, takes: Takes) -> impl Iterator<Item = &PromptFile> {
        self.files.iter().filter(move |file| file.goes_beside_text(takes))
    }

    /// Leaves out what goes beside its text to a model that takes this, for want of room.
    pub fn leave_out_beside_text(&mut self, takes: Takes) {
        for file in self.files.iter_mut().filter(|file| file.goes_beside_text(takes)) {
            file.given = Given::Line(LeftOut::NoRoom);
        }
    }

    /// The UTF-8 bytes of its documents' text.
    pub fn document_bytes(&self) -> usize {
        let documents = self.files.iter().map(|file| match &file.given {
            Given::Document(part) => part.text.len(),
            _ => 0,
        });
        documents.sum()
    }

    /// Keeps of each of its documents so many hundredths, or a line of what would be a crumb.
    pub fn shorten_documents(&mut self, percent: usize) {
        for file in &mut self.files {
            if let Given::Document(part) = &file.given {
                file.given = match part.shortened(part.text.len() * percent / 100) {
                    Some(part) => Given::Document(part),
                    None => Given::Line(LeftOut::NoRoom),
                };
            }
        }
    }

    /// The tokens of what goes beside its text to a model that takes this.
    pub fn tokens_beside_text(&self, takes: Takes) -> usize {
        self.beside_text(takes).map(PromptFile::tokens_beside_text).sum()
    }
}

/// How many UTF-8 bytes the lines of files with these names have at most.
pub fn max_line_bytes<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    let each = names.map(|name| name.len() + LINE_BYTES_BESIDE_THE_NAME.unsigned_abs() as usize);
    each.sum()
}

/// What a model had of the files of these messages, oldest first, which takes this: of the newest files first, each once.
pub fn used_files(messages: &[PromptMessage], takes: Takes) -> Vec<UsedFile> {
    let newest_first = messages.iter().rev().flat_map(|message| &message.files);
    newest_first
        .filter_map(|file| file.used(takes))
        .take(MAX_REPORTED)
        .collect()
}

#[cfg(test)]
mod tests;
