//! Files with something in them.

use std::io::{Cursor, Write};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

pub(crate) const PNG: &[u8] = include_bytes!("../../../fixtures/files/alpha.png");
pub(crate) const JPEG: &[u8] = include_bytes!("../../../fixtures/files/baseline.jpg");
pub(crate) const PDF: &[u8] = include_bytes!("../../../fixtures/files/scan.pdf");
pub(crate) const DOCX: &[u8] = include_bytes!("../../../fixtures/files/node.docx");

/// A packed archive with these entries.
pub(crate) fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// What says that a package is a Word document.
const TYPES_OF_DOCX: &[u8] =
    b"<?xml version=\"1.0\"?><Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\">\
    <Override PartName=\"/word/document.xml\" ContentType=\"application/vnd.openxmlformats-officedocument.\
    wordprocessingml.document.main+xml\"/></Types>";

/// A Word document in which nothing is written.
pub(crate) fn docx_without_text() -> Vec<u8> {
    let text =
        b"<?xml version=\"1.0\"?><w:document xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/2006/main\">\
        <w:body><w:p/></w:body></w:document>";
    zip(&[("[Content_Types].xml", TYPES_OF_DOCX), ("word/document.xml", text)])
}

/// A Word document with something embedded that does not show in the packed bytes.
pub(crate) fn docx_with(content: &[u8]) -> Vec<u8> {
    let text =
        b"<?xml version=\"1.0\"?><w:document xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/2006/main\">\
        <w:body><w:p><w:r><w:t>Hello</w:t></w:r></w:p></w:body></w:document>";
    let embedded = [content, &[b'a'; 10_000]].concat();
    let docx = zip(&[
        ("[Content_Types].xml", TYPES_OF_DOCX),
        ("word/document.xml", text),
        ("word/embeddings/object.bin", &embedded),
    ]);
    assert!(!docx.windows(content.len()).any(|part| part == content), "it is packed");
    docx
}

/// A picture with a chunk of text behind its head.
pub(crate) fn png_with_chunk(content: &[u8]) -> Vec<u8> {
    // The signature, and IHDR with its length, name, 13 bytes and checksum.
    let (head, rest) = PNG.split_at(8 + 25);
    let data = [b"Comment\0", content].concat();
    let named = [b"tEXt", &data[..]].concat();
    let length = u32::try_from(data.len()).unwrap();
    [head, &length.to_be_bytes(), &named, &crc32(&named).to_be_bytes(), rest].concat()
}

/// A picture with something behind its end.
pub(crate) fn png_followed_by(content: &[u8]) -> Vec<u8> {
    assert!(PNG[PNG.len() - 8..].starts_with(b"IEND"));
    [PNG, content].concat()
}

/// An archive whose entry says that it has a password.
pub(crate) fn encrypted_zip() -> Vec<u8> {
    let mut zip = zip(&[("letter.txt", b"it looks packed, but has a password")]);
    // The flags are at 6 in the header of an entry, and at 8 in the directory.
    let directory = zip.windows(4).position(|part| part == b"PK\x01\x02").unwrap();
    for at in [6, directory + 8] {
        zip[at] |= 1;
    }
    zip
}

/// CRC-32 as in PNG (RFC 2083, section 3.4).
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| {
        if crc & 1 == 1 {
            0xedb8_8320 ^ (crc >> 1)
        } else {
            crc >> 1
        }
    };
    let crc = bytes
        .iter()
        .fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step));
    !crc
}

#[test]
fn the_checksum_is_that_of_pictures() {
    assert_eq!(crc32(b"IEND"), 0xae42_6082);
}
