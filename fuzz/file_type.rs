//! The type of a file by its content: every file has an answer, no more of it is read than is promised, and other readers agree.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use cura_domain::file_type::{CONTENT_TYPES, FileType, HEAD_BYTES, Refusal, is_macro_part};
use cura_providers::scan::{MAX_DOCUMENT_READ, detect};
use image::ImageFormat;

/// Panics if the type of a file that consists of these bytes is told wrongly.
pub fn check(bytes: &[u8]) {
    let found = of(bytes, bytes.len());
    // What is behind its size is not part of a file.
    let half = bytes.len() / 2;
    assert_eq!(of(bytes, half), of(&bytes[..half], half));
    // Nothing may stand before a signature.
    assert!(of(&[b"\n", bytes].concat(), bytes.len() + 1).is_err());
    if let Ok(file_type) = found {
        assert_others_agree(file_type, bytes);
    }
}

/// The type of the first `size` bytes; not more is read than the promise says, where what is behind them may be read ahead.
fn of(bytes: &[u8], size: usize) -> Result<FileType, Refusal> {
    let mut file = Counted {
        bytes: Cursor::new(bytes),
        read: 0,
    };
    let found = detect(&mut file, size as u64).expect("bytes in memory can be read");
    let once = (bytes.len() + HEAD_BYTES) as u64;
    let is_picture = found.is_ok_and(FileType::is_picture);
    let promised = if is_picture { once } else { once + MAX_DOCUMENT_READ };
    assert!(file.read <= promised, "{} of {size} bytes read", file.read);
    found
}

/// Readers that others have written see what we have seen, where they can read the file.
fn assert_others_agree(file_type: FileType, bytes: &[u8]) {
    let format = image::guess_format(bytes).ok();
    match file_type {
        FileType::Jpeg => assert_eq!(format, Some(ImageFormat::Jpeg)),
        FileType::Png => assert_eq!(format, Some(ImageFormat::Png)),
        FileType::Gif => assert_eq!(format, Some(ImageFormat::Gif)),
        FileType::Webp => assert_eq!(format, Some(ImageFormat::WebP)),
        FileType::Pdf => assert!(bytes.starts_with(b"%PDF-")),
        FileType::Doc => {
            if let Ok(compound) = cfb::CompoundFile::open(Cursor::new(bytes)) {
                assert!(compound.is_stream("/WordDocument"), "another reader finds no text");
            }
        }
        FileType::Docx => {
            if let Ok(archive) = zip::ZipArchive::new(Cursor::new(bytes)) {
                let names: Vec<_> = archive.file_names().flatten().collect();
                let has_list = names.iter().any(|name| name.eq_ignore_ascii_case(CONTENT_TYPES));
                assert!(has_list, "another reader finds no list");
                let has_macros = names.iter().any(|name| is_macro_part(name.as_bytes()));
                assert!(!has_macros, "another reader finds macros");
            }
        }
    }
}

/// Bytes that count how many of them are read.
struct Counted<'a> {
    bytes: Cursor<&'a [u8]>,
    read: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        self.read += count as u64;
        Ok(count)
    }
}

impl Seek for Counted<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}
