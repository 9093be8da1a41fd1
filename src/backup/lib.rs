//! Backups: one archive holds the database as it was at one moment, the list of the objects that it names, and the objects themselves if
//! they are on a disk.
//!
//! An archive is complete, or it is refused: its last part is a manifest with the SHA-256 of every other part, and [`read`] has read all of
//! it, and compared each, before anything is done with it. While it is made, nothing of it is on a disk in clear text but the archive itself,
//! if it is not encrypted.

mod archive;
mod erasure_list;
mod error;
mod make;
mod manifest;
mod names;
mod patience;
mod pg_dump;
mod pg_restore;
mod program_output;
mod seal;
mod spool;

pub use cura_devdb::ClientProgram;

pub use archive::reader::{Contents, Nothing, read};
pub use erasure_list::{Listed, has_erasures_until, list_erasure, read_erasures};
pub use error::{ArchiveFault, BackupError};
pub use make::{Source, Target, make};
pub use manifest::{AppliedMigration, FORMAT_VERSION, Manifest, ObjectCounts, Part, TableRows};
pub use names::{is_archive_name, is_partial_name, name_of};
pub use patience::open_patiently;
pub use pg_restore::{Restoring, find_pg_restore};
pub use seal::{Identities, InvalidIdentity, InvalidRecipient, Recipient};
