//! Packs an archive: compressed files of JSON lines, the person's files as they are, and a manifest with the checksum of each.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use cura_domain::FileId;
use cura_providers::files::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::manifest::Manifest;

/// How much of a finished archive is read at a time, to tell its checksum.
const PIECE_BYTES: usize = 64 * 1024;

/// What an archive is made of, in this order.
pub(crate) enum ArchivePart {
    /// Begins a file of lines with this name.
    Table(&'static str),
    /// Adds lines to the file begun last.
    Lines(Vec<String>),
    /// Begins a file that is kept as it is.
    Object {
        /// Its name, which no other one has.
        name: String,
        /// Which file of the person it is; `None` for a picture of them.
        file: Option<FileId>,
    },
    /// Adds bytes to the file begun last.
    Bytes(Bytes),
    /// Says in the manifest why something of the person is not in the archive.
    LeftOut(Value),
}

/// A finished archive, at its beginning.
pub(crate) struct Packed {
    /// It has no name and is deleted when it is closed.
    pub(crate) file: File,
    /// In bytes.
    pub(crate) size: u64,
    /// Of its bytes.
    pub(crate) sha256: Vec<u8>,
}

/// What the manifest says of a file in the archive.
struct Entry {
    name: String,
    file: Option<FileId>,
    /// Of files of lines.
    lines: Option<u64>,
    bytes: u64,
    hash: Sha256,
}

/// What is being packed.
struct Packing {
    zip: ZipWriter<File>,
    open: Option<Entry>,
    manifest: Manifest,
}

/// Packs what it receives until the sender is dropped, into a file in `folder`. Blocks.
///
/// # Errors
/// When the folder is full or not writable.
pub(crate) fn pack(mut parts: mpsc::Receiver<ArchivePart>, about: Value, folder: &Path) -> io::Result<Packed> {
    let mut packing = Packing {
        zip: ZipWriter::new(tempfile::tempfile_in(folder)?),
        open: None,
        manifest: Manifest::new(folder)?,
    };
    while let Some(part) = parts.blocking_recv() {
        packing.add(part)?;
    }
    packing.finish(&about)
}

impl Packing {
    fn add(&mut self, part: ArchivePart) -> io::Result<()> {
        match part {
            ArchivePart::Table(name) => self.begin(name.to_owned(), None, CompressionMethod::Deflated),
            ArchivePart::Object { name, file } => self.begin(name, file, CompressionMethod::Stored),
            ArchivePart::Bytes(bytes) => self.write(&bytes),
            ArchivePart::LeftOut(why) => self.manifest.leave_out(&why),
            ArchivePart::Lines(lines) => {
                let count = lines.len() as u64;
                for mut line in lines {
                    line.push('\n');
                    self.write(line.as_bytes())?;
                }
                if let Some(entry) = &mut self.open {
                    *entry.lines.get_or_insert_default() += count;
                }
                Ok(())
            }
        }
    }

    fn begin(&mut self, name: String, file: Option<FileId>, method: CompressionMethod) -> io::Result<()> {
        self.describe_open()?;
        self.zip.start_file(&name, options(method))?;
        self.open = Some(Entry {
            name,
            file,
            lines: (method == CompressionMethod::Deflated).then_some(0),
            bytes: 0,
            hash: Sha256::new(),
        });
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(entry) = &mut self.open else {
            return Ok(());
        };
        self.zip.write_all(bytes)?;
        entry.hash.update(bytes);
        entry.bytes += bytes.len() as u64;
        Ok(())
    }

    fn describe_open(&mut self) -> io::Result<()> {
        match self.open.take() {
            Some(entry) => self.manifest.describe(&entry.describe()),
            None => Ok(()),
        }
    }

    fn finish(mut self, about: &Value) -> io::Result<Packed> {
        self.describe_open()?;
        self.zip
            .start_file("manifest.json", options(CompressionMethod::Deflated))?;
        self.manifest.write_to(about, &mut self.zip)?;
        let mut file = self.zip.finish()?;
        file.seek(SeekFrom::Start(0))?;
        let (mut hash, mut size, mut piece) = (Sha256::new(), 0, vec![0; PIECE_BYTES]);
        loop {
            let read = file.read(&mut piece)?;
            if read == 0 {
                break;
            }
            hash.update(&piece[..read]);
            size += read as u64;
        }
        file.seek(SeekFrom::Start(0))?;
        Ok(Packed {
            file,
            size,
            sha256: hash.finalize().to_vec(),
        })
    }
}

fn options(method: CompressionMethod) -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(method).large_file(true)
}

impl Entry {
    fn describe(self) -> Value {
        let sha256: String = self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut described = json!({ "name": self.name, "bytes": self.bytes, "sha256": sha256 });
        if let Some(lines) = self.lines {
            described["lines"] = lines.into();
        }
        if let Some(file) = self.file {
            described["file_id"] = file.0.into();
        }
        described
    }
}
