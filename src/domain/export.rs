//! Exports: archives with all data of a user.

use chrono::{DateTime, Utc};

use crate::object_key::ObjectKey;

/// An export, ready or in preparation.
#[derive(Debug, Clone)]
pub struct Export {
    /// Its id.
    pub id: i64,
    /// Its archive, once it is ready.
    pub ready: Option<Archive>,
    /// Whether the file store does not take it: no other one is made until it expires.
    pub is_refused: bool,
    /// When it was requested.
    pub created_at: DateTime<Utc>,
    /// When it is deleted.
    pub expires_at: DateTime<Utc>,
}

/// A finished archive, which the file store keeps.
#[derive(Debug, Clone)]
pub struct Archive {
    /// Where it is.
    pub key: ObjectKey,
    /// Its size, in bytes.
    pub size: i64,
    /// The SHA-256 of its bytes.
    pub sha256: Vec<u8>,
}

/// An export that can be downloaded: the payload of its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadyExport {
    /// The size of the archive, in bytes.
    pub size: i64,
    /// When it is deleted.
    pub expires_at: DateTime<Utc>,
}
