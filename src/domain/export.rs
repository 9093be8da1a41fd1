//! Exports: archives of all data of a user.

use chrono::{DateTime, Utc};

/// An archive, ready or being made.
#[derive(Debug, Clone)]
pub struct Export {
    /// The archive.
    pub id: i64,
    /// What it is, once it is made.
    pub ready: Option<Archive>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it is forgotten.
    pub expires_at: DateTime<Utc>,
}

/// A finished archive.
#[derive(Debug, Clone)]
pub struct Archive {
    /// Its bytes.
    pub size: i64,
    /// Their SHA-256.
    pub sha256: Vec<u8>,
}

/// An export that can be downloaded, as the user's devices are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadyExport {
    /// The size of the archive, in bytes.
    pub size: i64,
    /// When it is deleted.
    pub expires_at: DateTime<Utc>,
}
