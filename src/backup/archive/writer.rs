//! Writes an archive, part by part.

use std::io::{self, Read, Write};

use cura_domain::object_key::ObjectKey;
use sha2::{Digest, Sha256};

use super::{CHECKSUM, DUMP, FOLDER, FORMAT, MANIFEST, MAX_LISTED_AT_ONCE, OBJECTS, piece};
use crate::manifest::{
    ArchivedObject, FORMAT_NAME, FORMAT_VERSION, Format, Manifest, ObjectCounts, ObjectLine, ObjectPlace, Part, hex,
};

/// Writes an archive to `W`, which has all of it after [`Self::finish`].
pub(crate) struct Writer<W: Write> {
    tar: tar::Builder<W>,
    dump: OpenPart,
    list: OpenPart,
    /// Lines of the list that are not written yet, and how many.
    lines: (Vec<u8>, usize),
    counts: ObjectCounts,
}

/// A part that is written in pieces.
struct OpenPart {
    name: &'static str,
    pieces: usize,
    size: u64,
    sha256: Sha256,
}

impl OpenPart {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            pieces: 0,
            size: 0,
            sha256: Sha256::new(),
        }
    }

    fn add(&mut self, tar: &mut tar::Builder<impl Write>, bytes: &[u8]) -> io::Result<()> {
        append(tar, &piece(self.name, self.pieces), bytes.len() as u64, bytes)?;
        self.pieces += 1;
        self.size += bytes.len() as u64;
        self.sha256.update(bytes);
        Ok(())
    }

    fn close(self) -> Part {
        Part {
            name: self.name.to_owned(),
            size: self.size,
            sha256: hex(&self.sha256.finalize()),
        }
    }
}

fn append(tar: &mut tar::Builder<impl Write>, name: &str, size: u64, bytes: impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    header.set_mtime(0);
    tar.append_data(&mut header, name, bytes)
}

/// Counts and sums what passes.
struct Summed<R> {
    bytes: R,
    sha256: Sha256,
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        self.sha256.update(&buffer[..read]);
        Ok(read)
    }
}

impl<W: Write> Writer<W> {
    pub(crate) fn begin(output: W, store: &str) -> io::Result<Self> {
        let mut tar = tar::Builder::new(output);
        let format = serde_json::to_vec(&Format {
            format: FORMAT_NAME.to_owned(),
            version: FORMAT_VERSION,
        })?;
        append(&mut tar, FORMAT, format.len() as u64, &*format)?;
        Ok(Self {
            tar,
            dump: OpenPart::new(DUMP),
            list: OpenPart::new(OBJECTS),
            lines: (Vec::new(), 0),
            counts: ObjectCounts {
                store: store.to_owned(),
                ..ObjectCounts::default()
            },
        })
    }

    /// Writes the next piece of what `pg_dump` gives.
    pub(crate) fn dump(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.dump.add(&mut self.tar, bytes)
    }

    /// Writes an object of this size.
    pub(crate) fn object(
        &mut self,
        key: &ObjectKey,
        mut line: ObjectLine,
        size: u64,
        bytes: impl Read,
    ) -> io::Result<()> {
        let mut bytes = Summed {
            bytes: bytes.take(size),
            sha256: Sha256::new(),
        };
        append(&mut self.tar, &format!("{FOLDER}{}", key.as_str()), size, &mut bytes)?;
        if bytes.bytes.limit() != 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.place = ObjectPlace::Archive;
        line.archived = Some(ArchivedObject {
            size,
            sha256: hex(&bytes.sha256.finalize()),
        });
        self.counts.archived += 1;
        self.counts.bytes += size;
        self.list(&line)
    }

    /// Lists an object that is not in the archive, or was just written.
    pub(crate) fn list(&mut self, line: &ObjectLine) -> io::Result<()> {
        self.counts.named += 1;
        match line.place {
            ObjectPlace::Archive => {}
            ObjectPlace::Elsewhere => self.counts.elsewhere += 1,
            ObjectPlace::Missing => self.counts.missing += 1,
        }
        if line.is_different() {
            self.counts.different += 1;
        }
        let (lines, count) = &mut self.lines;
        serde_json::to_writer(&mut *lines, line)?;
        lines.push(b'\n');
        *count += 1;
        if *count < MAX_LISTED_AT_ONCE {
            return Ok(());
        }
        self.write_lines()
    }

    fn write_lines(&mut self) -> io::Result<()> {
        let (lines, _) = std::mem::take(&mut self.lines);
        self.list.add(&mut self.tar, &lines)
    }

    /// Writes the manifest, whose parts and objects are those that were written, and the end.
    pub(crate) fn finish(mut self, manifest: Manifest) -> io::Result<(W, Manifest)> {
        if self.lines.1 > 0 {
            self.write_lines()?;
        }
        let manifest = Manifest {
            parts: vec![self.dump.close(), self.list.close()],
            objects: self.counts,
            ..manifest
        };
        let text = serde_json::to_vec(&manifest)?;
        append(&mut self.tar, MANIFEST, text.len() as u64, &*text)?;
        let checksum = hex(&Sha256::digest(&text));
        append(&mut self.tar, CHECKSUM, checksum.len() as u64, checksum.as_bytes())?;
        Ok((self.tar.into_inner()?, manifest))
    }
}
