//! Files as operators see them: nothing of a name, nor of what is in them.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{FileReason, FileStatus, Finding, PictureVariant};
use crate::{FileId, MessageId, UserId};

/// A file, as operators see it.
#[derive(Debug, Clone, Serialize)]
pub struct KnownFile {
    /// The file.
    pub id: FileId,
    /// Whose it is.
    pub user_id: UserId,
    /// What it is, by its content.
    pub content_type: &'static str,
    /// In bytes.
    pub size: i64,
    /// What is known of it.
    pub status: FileStatus,
    /// Why it is infected or has failed.
    pub reason: Option<KnownReason>,
    /// What is in it.
    pub findings: Vec<Finding>,
    /// When it was uploaded.
    pub created_at: DateTime<Utc>,
    /// When it came to be what it is.
    pub updated_at: DateTime<Utc>,
}

/// Why a file is infected or has failed.
#[derive(Debug, Clone, Serialize)]
pub struct KnownReason {
    /// The word for it.
    pub code: FileReason,
    /// What the scanner calls what it has found.
    pub signature: Option<String>,
}

/// What else operators see of a single file.
#[derive(Debug, Clone, Serialize)]
pub struct FileDetails {
    /// The file.
    #[serde(flatten)]
    pub file: KnownFile,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// Since when its scan is put off, through no fault of its own.
    pub postponed_since: Option<DateTime<Utc>>,
    /// The pictures that a scan has made of it.
    pub pictures: Vec<KnownPicture>,
    /// The text that a scan has taken from it.
    pub text: Option<KnownText>,
    /// The messages that it is attached to, the first ones if there are many.
    pub message_ids: Vec<MessageId>,
}

/// A picture that a scan has made of a file.
#[derive(Debug, Clone, Serialize)]
pub struct KnownPicture {
    /// What it is for.
    pub variant: PictureVariant,
    /// `image/jpeg` or `image/png`.
    pub content_type: String,
    /// In pixels.
    pub width: i32,
    /// In pixels.
    pub height: i32,
    /// In bytes.
    pub size: i64,
    /// Whether the file store is known to have it.
    pub is_stored: bool,
}

/// How much text a scan has taken from a file.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct KnownText {
    /// Pages with and without text.
    pub pages: i64,
    /// Of the whole document; `None` where it does not say.
    pub page_count: Option<i32>,
    /// In bytes.
    pub size: i64,
    /// Whether text was left out.
    pub is_cut: bool,
}
