//! Files that users upload: kept for their person, and given to nobody before they were scanned.

mod known;

use chrono::{DateTime, TimeDelta, Utc};

use crate::file_type::FileType;
use crate::stored_words::stored_words;
use crate::{FileId, MessageId};

pub use known::{FileDetails, KnownFile, KnownPicture, KnownReason, KnownText};

/// The largest file, in bytes.
pub const MAX_FILE_BYTES: u64 = 10 * 1024 * 1024;
/// The most files of one message.
pub const MAX_FILES_OF_A_MESSAGE: i64 = 10;
/// How long an answer waits for the scans of its question's files, from when it was asked for.
pub const MAX_WAIT_FOR_SCANS: TimeDelta = TimeDelta::seconds(60);
/// What a file counts for at least, in bytes, of what its person may keep: a row and a block of a disk are taken by the smallest.
pub const MIN_COUNTED_BYTES: i64 = 4 * 1024;

stored_words!(
    /// What is known of a file.
    FileStatus {
        /// The file store is about to keep it. Not shown to anybody, and gone if the server dies before it is kept.
        Storing = "storing",
        /// It is kept, and was not scanned yet.
        Scanning = "scanning",
        /// It was scanned, and can be given out.
        Clean = "clean",
        /// Something bad was found: its bytes are deleted.
        Infected = "infected",
        /// It could not be scanned.
        Failed = "failed",
    }
);

stored_words!(
    /// Why a file is infected or has failed.
    FileReason {
        /// The scanner knows what is in it.
        Malware = "malware",
        /// Unpacking it would take more than is allowed.
        LimitsExceeded = "limits_exceeded",
        /// It has a password.
        Encrypted = "encrypted",
        /// It is not what it says it is, or is broken.
        Unreadable = "unreadable",
        /// The scanner was away for a day.
        ScannerUnavailable = "scanner_unavailable",
    }
);

stored_words!(
    /// How much of a file the model was given.
    FileUse {
        /// All of it.
        Whole = "whole",
        /// The beginning of its text.
        Cut = "cut",
        /// Nothing but its name.
        LeftOut = "left_out",
    }
);

/// How much of a file the model was given for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedFile {
    /// The file; it may be deleted since.
    pub id: FileId,
    /// How much.
    pub used: FileUse,
    /// How many pages of a document the model was given, from the first; `None` where it has no pages.
    pub pages: Option<u32>,
    /// How many pages the document has; `None` where it does not say.
    pub page_count: Option<u32>,
}

stored_words!(
    /// What a picture is for that a scan has made of a file.
    PictureVariant {
        /// For the model: 1,568 pixels at most.
        Model = "model",
        /// For lists: 320 pixels at most.
        Thumbnail = "thumb",
    }
);

stored_words!(
    /// What a clean file has in it that whoever opens it should know.
    Finding {
        /// A PDF that runs scripts.
        PdfJavascript = "pdf_javascript",
        /// A PDF that starts programs.
        PdfLaunch = "pdf_launch",
        /// A document with macros.
        Macros = "macros",
        /// A document that loads a template from elsewhere.
        ExternalTemplate = "external_template",
    }
);

/// A file as its person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its id.
    pub id: FileId,
    /// The name that it is shown under.
    pub name: String,
    /// What it is, by its content.
    pub file_type: FileType,
    /// In bytes.
    pub size: i64,
    /// SHA-256 of its bytes.
    pub sha256: Vec<u8>,
    /// What is known of it.
    pub status: FileStatus,
    /// Why it is infected or has failed.
    pub reason: Option<FileReason>,
    /// What the scanner calls what it has found.
    pub signature: Option<String>,
    /// What is in it.
    pub findings: Vec<Finding>,
    /// Whether a thumbnail was made of it.
    pub has_thumbnail: bool,
    /// The first message that it belongs to, if that exists.
    pub message: Option<MessageId>,
    /// When it was uploaded.
    pub created_at: DateTime<Utc>,
}

/// The links of a clean file: paths with a query, of this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links {
    /// To what was uploaded.
    pub original: String,
    /// To its thumbnail, if it has one.
    pub thumbnail: Option<String>,
    /// How long they are good, in seconds.
    pub expires_in: i64,
}

/// A file as its person sees it, with links if it can be downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedFile {
    /// The file.
    pub file: File,
    /// `None` unless it is clean.
    pub links: Option<Links>,
}

/// A file that belongs to a message, as the model is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedFile {
    /// Its id.
    pub id: FileId,
    /// The name that it is shown under.
    pub name: String,
    /// What it is, by its content.
    pub file_type: FileType,
    /// What is known of it.
    pub status: FileStatus,
}
