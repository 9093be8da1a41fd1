//! The archive: a tar file, so that `tar` and `pg_restore` can read it without us.
//!
//! `format.json` comes first. `database.dump/000000`, `…/000001` and so on are pieces of one part, because the size of what streams is not
//! known before; `files.jsonl/…` likewise, each piece of it behind the objects (`files/KEY`) that it lists. `manifest.json` has the SHA-256
//! of all, and `manifest.sha256`, the last one, its own.

pub(crate) mod reader;
pub(crate) mod writer;

/// What the file is.
const FORMAT: &str = "format.json";
/// What `pg_dump` wrote.
pub(crate) const DUMP: &str = "database.dump";
/// The list of objects.
const OBJECTS: &str = "files.jsonl";
/// The folder of objects.
const FOLDER: &str = "files/";
/// What the archive holds.
const MANIFEST: &str = "manifest.json";
/// The SHA-256 of the manifest.
const CHECKSUM: &str = "manifest.sha256";
/// The size of the block that tar is made of.
const BLOCK_BYTES: u64 = 512;
/// How a tar file ends: two blocks of zeros.
const END_BYTES: u64 = 2 * BLOCK_BYTES;
/// The largest piece of a part that is written in pieces.
pub(crate) const MAX_PIECE_BYTES: usize = 4 * 1024 * 1024;
/// The largest manifest.
const MAX_MANIFEST_BYTES: u64 = 16 * 1024 * 1024;
/// The most objects that one piece of the list lists: so many checksums are remembered while an archive is read.
const MAX_LISTED_AT_ONCE: usize = 1000;

/// The name of a piece.
fn piece(part: &str, number: usize) -> String {
    format!("{part}/{number:06}")
}
