//! Honest small files of each type, and what becomes of them.

mod any_bytes;
mod archives;
mod compound_files;
mod hostile_archives;
mod pictures;
mod raw_zip;
mod real_writers;
mod samples;

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use cura_domain::file_type::{FileType, HEAD_BYTES, Refusal, hint};

use super::{MAX_DOCUMENT_READ, detect};

const DAMAGED: Result<FileType, Refusal> = Err(Refusal::Damaged);

const fn unsupported(hint: &'static str) -> Result<FileType, Refusal> {
    Err(Refusal::Unsupported { hint })
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

/// The type of these bytes; not more is read than the promise says.
fn of(bytes: &[u8]) -> Result<FileType, Refusal> {
    let mut file = Counted {
        bytes: Cursor::new(bytes),
        read: 0,
    };
    let size = bytes.len() as u64;
    let found = detect(&mut file, size).unwrap();
    assert!(
        file.read <= size + HEAD_BYTES as u64 + MAX_DOCUMENT_READ,
        "{} bytes read",
        file.read
    );
    if found.is_ok_and(FileType::is_picture) {
        assert!(
            file.read <= size + HEAD_BYTES as u64,
            "{} of {size} bytes read",
            file.read
        );
    }
    found
}

#[test]
fn each_type_is_known_by_its_content() {
    for (file_type, bytes) in samples::all() {
        assert_eq!(of(&bytes), Ok(file_type));
    }
}

#[test]
fn a_file_that_is_cut_anywhere_is_not_taken() {
    for (file_type, bytes) in samples::all() {
        for end in 0..bytes.len() {
            let cut = of(&bytes[..end]);
            // A document's last sector may be cut where nothing of it is in it any more.
            let is_whole = file_type == FileType::Doc && samples::same_streams(&bytes[..end], &bytes);
            let expected = if is_whole { Ok(FileType::Doc) } else { DAMAGED };
            assert_eq!(cut, expected, "{file_type:?} until {end} of {}", bytes.len());
        }
    }
}

#[test]
fn a_beginning_that_is_lost_is_not_made_up_for() {
    for (file_type, bytes) in samples::all() {
        for begin in [1, 2, 4, 8, bytes.len() / 2, bytes.len() - 1] {
            assert!(of(&bytes[begin..]).is_err(), "{file_type:?} from {begin}");
        }
    }
}

#[test]
fn what_follows_a_picture_is_allowed() {
    let film = b"\0\0\0\x18ftypmp42\0\0\0\0isommp42".repeat(1000);
    for (file_type, bytes) in samples::all() {
        let followed = of(&[bytes.as_slice(), &film].concat());
        match file_type {
            FileType::Pdf => assert_eq!(followed, DAMAGED, "its end is too far from the end"),
            _ => assert_eq!(followed, Ok(file_type)),
        }
        assert_eq!(of(&[bytes.as_slice(), b"\r\n"].concat()), Ok(file_type));
    }
}

#[test]
fn the_first_byte_decides_between_two_types() {
    let [jpeg, pdf, docx] = [FileType::Jpeg, FileType::Pdf, FileType::Docx].map(samples::of_type);
    let far_docx = [&[0; 2000][..], &docx].concat();
    for (first, second, expected) in [
        (jpeg.as_slice(), docx.as_slice(), Ok(FileType::Jpeg)),
        (&jpeg, &pdf, Ok(FileType::Jpeg)),
        (&pdf, &far_docx, DAMAGED),
        (b"<html><script>alert(1)</script>", &pdf, unsupported(hint::LATE_PDF)),
        (b"MZ\x90\0", &docx, unsupported(hint::OTHER)),
        (b"\n", &jpeg, unsupported(hint::OTHER)),
        (b"#!/bin/sh\n", b"echo", unsupported(hint::TEXT)),
    ] {
        assert_eq!(of(&[first, second].concat()), expected);
    }
    // An archive that others find at the end, with offsets that count from its own beginning.
    assert_eq!(of(&[&docx[..], &docx].concat()), DAMAGED);
}

#[test]
fn a_file_that_is_shorter_than_it_was_is_damaged() {
    for (file_type, bytes) in samples::all() {
        let shorter = &bytes[..bytes.len() / 2];
        let found = detect(&mut Cursor::new(shorter), bytes.len() as u64).unwrap();
        assert_eq!(found, DAMAGED, "{file_type:?}");
        // One that has grown is looked at as far as it was known.
        let longer = [bytes.as_slice(), &[0xff; 10_000]].concat();
        assert_eq!(
            detect(&mut Cursor::new(longer), bytes.len() as u64).unwrap(),
            Ok(file_type)
        );
    }
}

#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("no disk"))
        }
    }
    impl Seek for Broken {
        fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
            Ok(100)
        }
    }
    assert_eq!(detect(&mut Broken, 100).unwrap_err().to_string(), "no disk");
}
