//! Packing an archive: files of lines, compressed, and a manifest with their checksums.

use std::fs::File;
use std::io::{self, Write};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// What goes into an archive, in order.
pub(crate) enum Piece {
    /// A new file begins.
    File(&'static str),
    /// Lines of the file that began last.
    Lines(Vec<String>),
}

/// A finished archive, in a file without a name that is gone when it is dropped.
pub(crate) struct Finished {
    pub(crate) file: File,
}

struct Entry {
    name: &'static str,
    lines: usize,
    bytes: usize,
    hash: Sha256,
}

/// Packs what is received until the sender is gone. Blocks.
///
/// # Errors
/// When the temporary folder is full or closed.
pub(crate) fn pack(mut pieces: mpsc::Receiver<Piece>, about: Value) -> io::Result<Finished> {
    let mut zip = ZipWriter::new(tempfile::tempfile()?);
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .large_file(true);
    let mut entries: Vec<Entry> = Vec::new();
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::File(name) => {
                zip.start_file(name, options)?;
                entries.push(Entry {
                    name,
                    lines: 0,
                    bytes: 0,
                    hash: Sha256::new(),
                });
            }
            Piece::Lines(lines) => {
                let Some(entry) = entries.last_mut() else {
                    continue;
                };
                for mut line in lines {
                    line.push('\n');
                    zip.write_all(line.as_bytes())?;
                    entry.hash.update(line.as_bytes());
                    entry.bytes += line.len();
                    entry.lines += 1;
                }
            }
        }
    }
    zip.start_file("manifest.json", options)?;
    let files: Vec<Value> = entries.into_iter().map(Entry::describe).collect();
    let manifest = json!({ "format": 1, "about": about, "files": files });
    zip.write_all(format!("{manifest:#}\n").as_bytes())?;
    Ok(Finished { file: zip.finish()? })
}

impl Entry {
    fn describe(self) -> Value {
        let sha256: String = self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        json!({ "name": self.name, "lines": self.lines, "bytes": self.bytes, "sha256": sha256 })
    }
}
