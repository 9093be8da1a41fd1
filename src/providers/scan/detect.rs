//! The type of a file by its content. Runs in the server, on what strangers send.
//!
//! A picture is walked from its first byte to the mark of its end, so that one that is cut short is known from one that something
//! was put behind. Of documents, only what says what they are is read.

mod archive;
mod compound;
mod content_types;
mod contents;
mod directory;
mod fields;
mod gif;
mod jpeg;
mod png;
mod riff;

use std::io::{self, Read, Seek, SeekFrom};

use cura_domain::file_type::{self, FileType, HEAD_BYTES, PDF_TAIL_BYTES, Refusal, Signature};

use contents::Contents;

/// The most bytes that are read of a document, however large it is. A picture is read once from beginning to end.
pub const MAX_DOCUMENT_READ: u64 = 3 * 1024 * 1024;

/// Why looking ends before the type is known.
#[derive(Debug)]
enum Stop {
    /// The file cannot be read.
    Io(io::Error),
    /// It is not taken.
    Refused(Refusal),
}

type Looked<T> = Result<T, Stop>;

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The type of a file that has `size` bytes: by its content alone. Blocks while it reads: a picture
/// once and its first [`HEAD_BYTES`] again, of a document at most [`MAX_DOCUMENT_READ`]. Takes less than 4 MiB of memory.
///
/// # Errors
/// What reading fails with. A file that is not taken is no error: then the inner result says why.
pub fn detect(file: &mut (impl Read + Seek), size: u64) -> io::Result<Result<FileType, Refusal>> {
    // Not all of a document is read, so that what is missing would not be missed.
    if file.seek(SeekFrom::End(0))? < size {
        return Ok(Err(Refusal::Damaged));
    }
    match look(&mut Contents::new(file, size)) {
        Ok(file_type) => Ok(Ok(file_type)),
        Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
        Err(Stop::Io(error)) => Err(error),
    }
}

fn look<F: Read + Seek>(contents: &mut Contents<'_, F>) -> Looked<FileType> {
    let head = contents.read_at(0, HEAD_BYTES.min(as_usize(contents.size())))?;
    match file_type::signature(&head)? {
        Signature::Png => png::find_end(contents).map(|()| FileType::Png),
        Signature::Jpeg => jpeg::find_end(contents).map(|()| FileType::Jpeg),
        Signature::Gif => gif::find_end(contents).map(|()| FileType::Gif),
        Signature::Webp => riff::check_webp(contents).map(|()| FileType::Webp),
        Signature::Pdf => check_pdf(contents).map(|()| FileType::Pdf),
        Signature::Zip => archive::look(contents),
        Signature::Compound => compound::look(contents),
    }
}

fn check_pdf<F: Read + Seek>(contents: &mut Contents<'_, F>) -> Looked<()> {
    let length = PDF_TAIL_BYTES.min(as_usize(contents.size()));
    let tail = contents.read_at(contents.size() - length as u64, length)?;
    Ok(file_type::is_end_of_pdf(&tail).then_some(()).ok_or(Refusal::Damaged)?)
}

/// `size`, or the largest number of bytes that memory could hold.
fn as_usize(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
