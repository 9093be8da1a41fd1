//! A file as its person sees it: without the key of its object.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use cura_app::files::LinkedFile;
use cura_domain::file::{FileReason, FileStatus, Finding};
use poem_openapi::{Enum, Object};
use serde::Serialize;

use crate::http::payload::written;

/// What is known of a file.
#[derive(Enum, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
#[oai(rename = "AttachmentStatus", rename_all = "lowercase")]
enum StatusView {
    /// It is being scanned.
    Scanning,
    /// It was scanned, and can be downloaded.
    Clean,
    /// Something bad was found in it, and its bytes are deleted.
    Infected,
    /// It could not be scanned.
    Failed,
}

/// Why a file is infected or has failed.
#[derive(Enum, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
#[oai(rename = "AttachmentReasonCode", rename_all = "snake_case")]
enum ReasonCodeView {
    /// The scanner knows what is in it.
    Malware,
    /// Unpacking it would take more than is allowed.
    LimitsExceeded,
    /// It has a password.
    Encrypted,
    /// It is not what it says it is, or is broken.
    Unreadable,
    /// The scanner was away for a day.
    ScannerUnavailable,
}

/// What a file has in it that whoever opens it should know.
#[derive(Enum, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
#[oai(rename = "Finding", rename_all = "snake_case")]
enum FindingView {
    /// A PDF that runs scripts.
    PdfJavascript,
    /// A PDF that starts programs.
    PdfLaunch,
    /// A document with macros.
    Macros,
    /// A document that loads a template from elsewhere.
    ExternalTemplate,
}

/// Why a file is infected or has failed.
#[derive(Object, Serialize)]
#[oai(rename = "AttachmentReason")]
struct ReasonView {
    /// For programs: a stable code.
    code: ReasonCodeView,
    /// What the scanner calls what it has found.
    signature: Option<String>,
}

/// A file that was uploaded.
#[derive(Object, Serialize)]
#[oai(rename = "Attachment")]
pub(crate) struct AttachmentView {
    /// The id of the file.
    id: i64,
    /// The name that it came with, cleaned.
    filename: String,
    /// What it is, by its content.
    content_type: String,
    /// In bytes.
    size: i64,
    /// SHA-256 of its bytes, in hexadecimal.
    sha256: String,
    /// Whether it was scanned, and what came of it.
    status: StatusView,
    /// With `infected` and `failed`.
    reason: Option<ReasonView>,
    /// What whoever opens it should know; empty if nothing was found.
    findings: Vec<FindingView>,
    /// The message that it belongs to.
    message_id: Option<i64>,
    /// With `clean`: where it can be downloaded without signing in, as a path of this server. Whoever has it can, until it expires.
    url: Option<String>,
    /// With `clean`, if a picture of at most 320 pixels was made of it.
    thumbnail_url: Option<String>,
    /// How long `url` and `thumbnail_url` are good, in seconds. They are the same for ten minutes.
    expires_in: Option<i64>,
    /// When it was uploaded.
    #[serde(serialize_with = "written::time")]
    created_at: DateTime<Utc>,
}

impl From<LinkedFile> for AttachmentView {
    fn from(LinkedFile { file, links }: LinkedFile) -> Self {
        let expires_in = links.as_ref().map(|links| links.expires_in);
        let (url, thumbnail_url) = links.map_or((None, None), |links| (Some(links.original), links.thumbnail));
        let signature = file.signature;
        Self {
            id: file.id.0,
            filename: file.name,
            content_type: file.file_type.media_type().to_owned(),
            size: file.size,
            sha256: hexadecimal(&file.sha256),
            status: match file.status {
                // Never shown; if it were, it would not be scanned yet.
                FileStatus::Storing | FileStatus::Scanning => StatusView::Scanning,
                FileStatus::Clean => StatusView::Clean,
                FileStatus::Infected => StatusView::Infected,
                FileStatus::Failed => StatusView::Failed,
            },
            reason: file.reason.map(|reason| ReasonView {
                code: reason.into(),
                signature,
            }),
            findings: file.findings.into_iter().map(Into::into).collect(),
            message_id: file.message.map(|message| message.0),
            url,
            thumbnail_url,
            expires_in,
            created_at: file.created_at,
        }
    }
}

impl From<FileReason> for ReasonCodeView {
    fn from(reason: FileReason) -> Self {
        match reason {
            FileReason::Malware => Self::Malware,
            FileReason::LimitsExceeded => Self::LimitsExceeded,
            FileReason::Encrypted => Self::Encrypted,
            FileReason::Unreadable => Self::Unreadable,
            FileReason::ScannerUnavailable => Self::ScannerUnavailable,
        }
    }
}

impl From<Finding> for FindingView {
    fn from(finding: Finding) -> Self {
        match finding {
            Finding::PdfJavascript => Self::PdfJavascript,
            Finding::PdfLaunch => Self::PdfLaunch,
            Finding::Macros => Self::Macros,
            Finding::ExternalTemplate => Self::ExternalTemplate,
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
