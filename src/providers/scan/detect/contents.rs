//! The bytes of a file. Where they end too early, the file is damaged.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};

use cura_domain::file_type::Refusal;

use super::{Looked, Stop};

/// A file of a size that is known before. Going forward reads no byte twice, and [`Contents::read_at`] no more than it gives.
pub(super) struct Contents<'a, F> {
    file: BufReader<&'a mut F>,
    size: u64,
    /// `None` until something is read: nobody knows where the caller has left the file.
    at: Option<u64>,
}

impl<'a, F: Read + Seek> Contents<'a, F> {
    /// Nothing is read yet.
    pub(super) fn new(file: &'a mut F, size: u64) -> Self {
        let file = BufReader::new(file);
        Self { file, size, at: None }
    }

    /// All there are.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Where the next one is read.
    pub(super) fn at(&self) -> u64 {
        self.at.unwrap_or_default()
    }

    /// Goes to a place within the file, or to its end.
    pub(super) fn seek(&mut self, to: u64) -> Looked<()> {
        if to > self.size {
            return Err(Refusal::Damaged.into());
        }
        match self.at {
            None => self.file.seek(SeekFrom::Start(to)).map(drop)?,
            // What was read ahead is kept.
            Some(at) => self
                .file
                .seek_relative(to.cast_signed().wrapping_sub(at.cast_signed()))?,
        }
        self.at = Some(to);
        Ok(())
    }

    /// Leaves out the next bytes.
    pub(super) fn skip(&mut self, count: u64) -> Looked<()> {
        self.seek(self.after(count)?)
    }

    /// The next bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Looked<[u8; N]> {
        let to = self.after(N as u64)?;
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).map_err(ended)?;
        self.at = Some(to);
        Ok(bytes)
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> Looked<u8> {
        self.array().map(|[byte]| byte)
    }

    /// Leaves out everything up to the next byte of this value, which is left out, too.
    pub(super) fn skip_until(&mut self, byte: u8) -> Looked<()> {
        let count = self.file.skip_until(byte)?;
        self.at = Some(self.after(count as u64)?);
        Ok(())
    }

    /// The bytes at a place. `length` is checked by the caller, for it is allocated.
    pub(super) fn read_at(&mut self, at: u64, length: usize) -> Looked<Vec<u8>> {
        let to = at
            .checked_add(length as u64)
            .filter(|to| *to <= self.size)
            .ok_or(Refusal::Damaged)?;
        self.file.seek(SeekFrom::Start(at))?;
        let mut bytes = vec![0; length];
        // Seeking has emptied the buffer, so that going around it leaves nothing out.
        self.file.get_mut().read_exact(&mut bytes).map_err(ended)?;
        self.at = Some(to);
        Ok(bytes)
    }

    /// Where the next `count` bytes end, if they are there.
    fn after(&self, count: u64) -> Result<u64, Refusal> {
        self.at()
            .checked_add(count)
            .filter(|to| *to <= self.size)
            .ok_or(Refusal::Damaged)
    }
}

/// A file that is shorter than its size, which the caller measured, has lost its end.
fn ended(error: io::Error) -> Stop {
    match error.kind() {
        ErrorKind::UnexpectedEof => Refusal::Damaged.into(),
        _ => error.into(),
    }
}
