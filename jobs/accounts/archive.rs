//! Packs an archive: compressed files of JSON lines, and a manifest with their checksums.

use std::fs::File;
use std::io::{self, Write};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// What an archive is made of, in this order.
pub(crate) enum ArchivePart {
    /// Begins a file with this name.
    File(&'static str),
    /// Adds lines to the file begun last.
    Lines(Vec<String>),
}

struct Entry {
    name: &'static str,
    lines: usize,
    bytes: usize,
    hash: Sha256,
}

/// Packs what it receives until the sender is dropped. Blocks. The file has no name and is deleted when it is closed.
///
/// # Errors
/// When the temporary folder is full or not writable.
pub(crate) fn pack(mut parts: mpsc::Receiver<ArchivePart>, about: Value) -> io::Result<File> {
    let mut zip = ZipWriter::new(tempfile::tempfile()?);
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .large_file(true);
    let mut entries: Vec<Entry> = Vec::new();
    while let Some(part) = parts.blocking_recv() {
        match part {
            ArchivePart::File(name) => {
                zip.start_file(name, options)?;
                entries.push(Entry {
                    name,
                    lines: 0,
                    bytes: 0,
                    hash: Sha256::new(),
                });
            }
            ArchivePart::Lines(lines) => {
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
    Ok(zip.finish()?)
}

impl Entry {
    fn describe(self) -> Value {
        let sha256: String = self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        json!({ "name": self.name, "lines": self.lines, "bytes": self.bytes, "sha256": sha256 })
    }
}
