//! What an archive says of itself, in its last part.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The format that this version writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// The first part: what the file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Format {
    /// Always [`FORMAT_NAME`].
    pub(crate) format: String,
    /// [`FORMAT_VERSION`], or that of another release.
    pub(crate) version: u32,
}

/// The name in the first part of every archive.
pub(crate) const FORMAT_NAME: &str = "cura-backup";

/// What an archive holds, and the state of the database that it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT_VERSION`]
    pub format: u32,
    /// The version of Cura that made it.
    pub cura: String,
    /// The moment it is of, by the clock of Postgres.
    pub taken_at: DateTime<Utc>,
    /// The major version of the server.
    pub postgres: u32,
    /// The major version of `pg_dump`.
    pub pg_dump: u32,
    /// The schemas beside ours that held the extensions.
    pub extension_schemas: Vec<String>,
    /// The migrations that the database had.
    pub migrations: Vec<AppliedMigration>,
    /// How many rows each table had.
    pub tables: Vec<TableRows>,
    /// Every part but the objects, which `files.jsonl` lists with theirs.
    pub parts: Vec<Part>,
    /// The objects.
    pub objects: ObjectCounts,
}

/// A migration that the database had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedMigration {
    /// `apalis` or `cura`.
    pub set: String,
    /// Its number.
    pub version: i64,
    /// Its checksum, in hex.
    pub checksum: String,
}

impl AppliedMigration {
    /// The migration of this set, number and checksum.
    pub fn new(set: &str, version: i64, checksum: &[u8]) -> Self {
        Self {
            set: set.to_owned(),
            version,
            checksum: hex(checksum),
        }
    }
}

/// How many rows a table had.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableRows {
    /// The schema and the name.
    pub table: String,
    /// How many.
    pub rows: i64,
}

/// A part of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// In hex.
    pub sha256: String,
}

/// The objects that the database names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectCounts {
    /// Where they are: `disk`, `supabase` or `s3`.
    pub store: String,
    /// How many the database names.
    pub named: u64,
    /// How many are in the archive.
    pub archived: u64,
    /// How many are in a store elsewhere, with the size that the database has.
    pub elsewhere: u64,
    /// How many were in no store: deleted since the moment of the backup, or lost.
    pub missing: u64,
    /// How many are not what the database says they are.
    pub different: u64,
    /// The bytes of those in the archive.
    pub bytes: u64,
}

/// One line of `files.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectLine {
    /// Where it is in the store, and below `files/` in the archive.
    pub(crate) key: String,
    /// In bytes, as the database says.
    pub(crate) size: u64,
    /// In hex, as the database says; it does not know those of pictures.
    pub(crate) sha256: Option<String>,
    /// Where it is.
    pub(crate) place: ObjectPlace,
    /// What is in the archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) archived: Option<ArchivedObject>,
}

/// An object as it is in the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ArchivedObject {
    /// In bytes.
    pub(crate) size: u64,
    /// In hex.
    pub(crate) sha256: String,
}

/// Where an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ObjectPlace {
    /// In the archive.
    Archive,
    /// In a store that is not part of the archive.
    Elsewhere,
    /// In none.
    Missing,
}

impl ObjectLine {
    /// Whether what there is differs from what the database says.
    pub(crate) fn is_different(&self) -> bool {
        self.archived.as_ref().is_some_and(|archived| {
            archived.size != self.size || self.sha256.as_ref().is_some_and(|sha256| *sha256 != archived.sha256)
        })
    }
}

/// Bytes as lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // A string takes whatever is written.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
