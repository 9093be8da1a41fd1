//! Reads an archive to its end, and compares all of it with what the manifest says.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use cura_domain::object_key::ObjectKey;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tar::Entry;

use super::{
    BLOCK_BYTES, CHECKSUM, DUMP, END_BYTES, FOLDER, FORMAT, MANIFEST, MAX_LISTED_AT_ONCE, MAX_MANIFEST_BYTES,
    MAX_PIECE_BYTES, OBJECTS, piece,
};
use crate::error::{ArchiveFault, BackupError, of_reading};
use crate::manifest::{
    ArchivedObject, FORMAT_NAME, FORMAT_VERSION, Format, Manifest, ObjectCounts, ObjectLine, ObjectPlace, Part, hex,
};
use crate::seal::{Identities, open};

/// How much is read at once.
const BUFFER_BYTES: usize = 128 * 1024;

/// What is done with what an archive holds, as it is read. What was given may turn out to be damaged: only the end of [`read`] says that it
/// was not.
pub trait Contents {
    /// The next bytes of what `pg_dump` wrote.
    ///
    /// # Errors
    /// When they cannot be taken.
    fn dump(&mut self, bytes: &[u8]) -> Result<(), BackupError>;

    /// An object, which need not be read to its end.
    ///
    /// # Errors
    /// When it cannot be taken.
    fn object(&mut self, key: &ObjectKey, size: u64, bytes: &mut dyn Read) -> Result<(), BackupError>;

    /// An object that is in another store, and how large it is there.
    ///
    /// # Errors
    /// When it cannot be looked at.
    fn elsewhere(&mut self, key: &ObjectKey, size: u64) -> Result<(), BackupError>;
}

/// Does nothing with it: the archive is only checked.
pub struct Nothing;

impl Contents for Nothing {
    fn dump(&mut self, _: &[u8]) -> Result<(), BackupError> {
        Ok(())
    }

    fn object(&mut self, _: &ObjectKey, _: u64, _: &mut dyn Read) -> Result<(), BackupError> {
        Ok(())
    }

    fn elsewhere(&mut self, _: &ObjectKey, _: u64) -> Result<(), BackupError> {
        Ok(())
    }
}

/// Reads an archive to its end and gives its manifest. Blocks.
///
/// # Errors
/// [`BackupError::Archive`] if it is not whole or not ours; else the error of `contents`.
pub fn read(path: &Path, identities: &Identities, contents: &mut dyn Contents) -> Result<Manifest, BackupError> {
    let file = File::open(path).map_err(BackupError::Unreadable)?;
    let opened = open(BufReader::with_capacity(BUFFER_BYTES, file), identities)?;
    let (count, has_ended) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
    let mut tar = tar::Archive::new(Counted {
        bytes: opened,
        count: Rc::clone(&count),
        has_ended: Rc::clone(&has_ended),
    });
    let mut reading = Reading {
        contents,
        stage: Stage::Format,
        dump: ReadPart::new(DUMP),
        list: ReadPart::new(OBJECTS),
        unlisted: HashMap::new(),
        counts: ObjectCounts::default(),
        manifest: None,
        end: 0,
    };
    for entry in tar.entries().map_err(of_reading)? {
        let is_first = reading.stage == Stage::Format;
        let entry = entry.map_err(|error| match of_reading(error) {
            // Anything may be given to be read.
            BackupError::Archive(_) if is_first => ArchiveFault::NotABackup.into(),
            // Where a header ends too early, it is only said to be wrong.
            BackupError::Archive(_) if has_ended.get() => ArchiveFault::Truncated.into(),
            error => error,
        })?;
        reading.entry(entry)?;
    }
    let end = reading.end;
    let manifest = reading.close()?;
    // To the very end: the last block of an encryption says that it is the last.
    io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(of_reading)?;
    match count.get().cmp(&end) {
        Ordering::Less => Err(ArchiveFault::Truncated.into()),
        Ordering::Equal => Ok(manifest),
        Ordering::Greater => Err(ArchiveFault::damaged("something follows its end")),
    }
}

/// Counts the bytes that are read.
struct Counted {
    bytes: Box<dyn Read>,
    count: Rc<Cell<u64>>,
    /// Whether there was nothing more.
    has_ended: Rc<Cell<bool>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        self.count.set(self.count.get() + read as u64);
        if read == 0 && !buffer.is_empty() {
            self.has_ended.set(true);
        }
        Ok(read)
    }
}

/// What comes next in an archive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Format,
    Parts,
    Checksum,
    End,
}

struct Reading<'c> {
    contents: &'c mut dyn Contents,
    stage: Stage,
    dump: ReadPart,
    list: ReadPart,
    /// Objects that no piece of the list has listed yet.
    unlisted: HashMap<String, ArchivedObject>,
    counts: ObjectCounts,
    manifest: Option<(Manifest, String)>,
    /// Where the archive ends if this entry is the last one.
    end: u64,
}

struct ReadPart {
    name: &'static str,
    pieces: usize,
    size: u64,
    sha256: Sha256,
}

impl ReadPart {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            pieces: 0,
            size: 0,
            sha256: Sha256::new(),
        }
    }

    /// Reads the next piece, if this is it.
    fn take(&mut self, name: &str, entry: impl Read, size: u64) -> Result<Option<Vec<u8>>, BackupError> {
        if name != piece(self.name, self.pieces) {
            return Ok(None);
        }
        let bytes = whole(entry, size, MAX_PIECE_BYTES as u64)?;
        self.pieces += 1;
        self.size += size;
        self.sha256.update(&bytes);
        Ok(Some(bytes))
    }

    fn close(self) -> Part {
        Part {
            name: self.name.to_owned(),
            size: self.size,
            sha256: hex(&self.sha256.finalize()),
        }
    }
}

/// All bytes of an entry.
fn whole(entry: impl Read, size: u64, max: u64) -> Result<Vec<u8>, BackupError> {
    if size > max {
        return Err(ArchiveFault::damaged("one of its parts is too large"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    entry.take(size).read_to_end(&mut bytes).map_err(of_reading)?;
    if bytes.len() as u64 != size {
        return Err(ArchiveFault::Truncated.into());
    }
    Ok(bytes)
}

fn parsed<T: DeserializeOwned>(bytes: &[u8], part: &str) -> Result<T, BackupError> {
    serde_json::from_slice(bytes).map_err(|_| ArchiveFault::damaged(format!("{part} cannot be read")))
}

/// Sums what passes, and knows how much that was.
struct Summed<'r> {
    bytes: &'r mut dyn Read,
    size: u64,
    sha256: Sha256,
}

impl Read for Summed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        self.size += read as u64;
        self.sha256.update(&buffer[..read]);
        Ok(read)
    }
}

impl Reading<'_> {
    fn entry(&mut self, mut entry: Entry<'_, Counted>) -> Result<(), BackupError> {
        let size = entry.size();
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        self.end = entry.raw_file_position() + size.div_ceil(BLOCK_BYTES) * BLOCK_BYTES + END_BYTES;
        match (self.stage, &*name) {
            (Stage::Format, FORMAT) => self.format(&whole(&mut entry, size, BLOCK_BYTES)?),
            (Stage::Format, _) => Err(ArchiveFault::NotABackup.into()),
            (Stage::Parts, MANIFEST) => self.manifest(&whole(&mut entry, size, MAX_MANIFEST_BYTES)?),
            (Stage::Parts, _) => self.part(&name, size, &mut entry),
            (Stage::Checksum, CHECKSUM) => self.checksum(&whole(&mut entry, size, BLOCK_BYTES)?),
            (Stage::Checksum | Stage::End, _) => Err(ArchiveFault::damaged("its parts are not in their order")),
        }
    }

    fn format(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        let format: Format = serde_json::from_slice(bytes).map_err(|_| ArchiveFault::NotABackup)?;
        if format.format != FORMAT_NAME {
            return Err(ArchiveFault::NotABackup.into());
        }
        if format.version > FORMAT_VERSION {
            let newer = format!(
                "its format is {}, and this version reads up to {FORMAT_VERSION}",
                format.version
            );
            return Err(ArchiveFault::Newer(newer).into());
        }
        self.stage = Stage::Parts;
        Ok(())
    }

    fn part(&mut self, name: &str, size: u64, entry: &mut dyn Read) -> Result<(), BackupError> {
        if let Some(key) = name.strip_prefix(FOLDER) {
            let key = key.parse().map_err(|_| ArchiveFault::damaged("an object has no key"))?;
            return self.object(&key, size, entry);
        }
        if let Some(bytes) = self.dump.take(name, &mut *entry, size)? {
            return self.contents.dump(&bytes);
        }
        match self.list.take(name, entry, size)? {
            Some(lines) => self.lines(&lines),
            None => Err(ArchiveFault::damaged("it has a part that does not belong to it")),
        }
    }

    fn object(&mut self, key: &ObjectKey, size: u64, entry: &mut dyn Read) -> Result<(), BackupError> {
        let mut summed = Summed {
            bytes: entry,
            size: 0,
            sha256: Sha256::new(),
        };
        self.contents.object(key, size, &mut summed)?;
        io::copy(&mut summed, &mut io::sink()).map_err(of_reading)?;
        if summed.size != size {
            return Err(ArchiveFault::Truncated.into());
        }
        let archived = ArchivedObject {
            size,
            sha256: hex(&summed.sha256.finalize()),
        };
        let is_new = self.unlisted.insert(key.as_str().to_owned(), archived).is_none();
        if !is_new || self.unlisted.len() > MAX_LISTED_AT_ONCE {
            return Err(ArchiveFault::damaged("objects are not listed"));
        }
        Ok(())
    }

    fn lines(&mut self, lines: &[u8]) -> Result<(), BackupError> {
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line: ObjectLine = parsed(line, OBJECTS)?;
            self.counts.named += 1;
            let archived = self.unlisted.remove(&line.key);
            if archived != line.archived || archived.is_some() != (line.place == ObjectPlace::Archive) {
                return Err(ArchiveFault::damaged("an object is not what the list says"));
            }
            if line.is_different() {
                self.counts.different += 1;
            }
            match (line.place, archived) {
                (ObjectPlace::Missing, _) => self.counts.missing += 1,
                (ObjectPlace::Elsewhere, _) => {
                    self.counts.elsewhere += 1;
                    let key = line.key.parse();
                    let key = key.map_err(|_| ArchiveFault::damaged("an object has no key"))?;
                    self.contents.elsewhere(&key, line.size)?;
                }
                (ObjectPlace::Archive, archived) => {
                    self.counts.archived += 1;
                    self.counts.bytes += archived.map_or(0, |archived| archived.size);
                }
            }
        }
        Ok(())
    }

    fn manifest(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        if !self.unlisted.is_empty() {
            return Err(ArchiveFault::damaged("objects are not listed"));
        }
        self.manifest = Some((parsed(bytes, MANIFEST)?, hex(&Sha256::digest(bytes))));
        self.stage = Stage::Checksum;
        Ok(())
    }

    fn checksum(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.stage = Stage::End;
        match &self.manifest {
            Some((_, sha256)) if sha256.as_bytes() == bytes => Ok(()),
            _ => Err(ArchiveFault::damaged("manifest.json is not what was written")),
        }
    }

    /// Compares what was read with what the manifest says.
    fn close(self) -> Result<Manifest, BackupError> {
        let (Stage::End, Some((manifest, _))) = (self.stage, self.manifest) else {
            let is_empty = self.stage == Stage::Format;
            let fault = if is_empty {
                ArchiveFault::NotABackup
            } else {
                ArchiveFault::Truncated
            };
            return Err(fault.into());
        };
        for part in [self.dump.close(), self.list.close()] {
            if !manifest.parts.contains(&part) {
                return Err(ArchiveFault::damaged(format!("{} is not what was written", part.name)));
            }
        }
        let counts = ObjectCounts {
            store: manifest.objects.store.clone(),
            ..self.counts
        };
        if counts != manifest.objects {
            return Err(ArchiveFault::damaged("the list of objects is not what was written"));
        }
        Ok(manifest)
    }
}
