//! Archives that are documents, and archives that look like them.

use std::io::Write;

use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use super::raw_zip::{RawEntry, RawZip};
use super::samples::{DOCUMENT, content_types, override_of, parts, zip_of};
use super::*;

pub(super) const LIST: &str = "[Content_Types].xml";
pub(super) const MAIN: &str = "word/document.xml";
const SHEET: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml";

/// An archive of a list of content types with these elements, and of empty parts.
pub(super) fn package(elements: &str, names: &[&str]) -> Vec<u8> {
    let list = content_types(elements);
    let mut zip = RawZip::of(&[(LIST, list.as_bytes())]);
    for name in names {
        zip.add(&RawEntry::stored(name, b""));
    }
    zip.finish()
}

pub(super) fn list() -> String {
    content_types(&override_of(MAIN, DOCUMENT))
}

#[test]
fn a_document_is_known_however_its_archive_is_written() {
    let options = SimpleFileOptions::default();
    let mut reversed = parts();
    reversed.reverse();
    for parts in [parts(), reversed] {
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            for large in [false, true] {
                let options = options.compression_method(method).large_file(large);
                assert_eq!(of(&zip_of(&parts, options)), Ok(FileType::Docx));
            }
        }
    }
    let mut stream = zip::ZipWriter::new_stream(Vec::new());
    for (name, content) in parts() {
        stream.start_file(name, options).unwrap();
        stream.write_all(content.as_bytes()).unwrap();
    }
    let with_descriptors = stream.finish().unwrap().into_inner();
    assert_eq!(of(&with_descriptors), Ok(FileType::Docx));
}

#[test]
fn a_document_is_known_by_the_type_of_its_main_part() {
    for (elements, names, expected) in [
        (override_of(MAIN, DOCUMENT), &[MAIN][..], Ok(FileType::Docx)),
        (
            override_of(MAIN, &DOCUMENT.to_lowercase()),
            &["Word/Document.xml"],
            Ok(FileType::Docx),
        ),
        // As Word in the browser calls it.
        (
            override_of("word/document2.xml", DOCUMENT),
            &["word/document2.xml"],
            Ok(FileType::Docx),
        ),
        (
            format!("<Default Extension=\"XML\" ContentType=\"{DOCUMENT}\"/>"),
            &[MAIN],
            Ok(FileType::Docx),
        ),
        (
            format!("<Default Extension=\"bin\" ContentType=\"{DOCUMENT}\"/>"),
            &[MAIN],
            unsupported(hint::ARCHIVE),
        ),
        (
            format!("<o:Override xmlns:o='x' ContentType='{DOCUMENT}' PartName='&#47;word/document.xml'></o:Override>"),
            &[MAIN],
            Ok(FileType::Docx),
        ),
        (
            override_of(MAIN, DOCUMENT),
            &["word/document.txt"],
            unsupported(hint::ARCHIVE),
        ),
        (
            override_of(MAIN, "application/xml"),
            &[MAIN],
            unsupported(hint::ARCHIVE),
        ),
        (String::new(), &[MAIN], unsupported(hint::ARCHIVE)),
        (
            override_of("xl/workbook.xml", SHEET),
            &["xl/workbook.xml"],
            unsupported(hint::SPREADSHEET),
        ),
        (
            override_of(MAIN, "application/vnd.ms-word.document.macroEnabled.main+xml"),
            &[MAIN],
            unsupported(hint::MACROS),
        ),
        (
            override_of(MAIN, DOCUMENT),
            &[MAIN, "word/VBAproject.bin"],
            unsupported(hint::MACROS),
        ),
        (
            override_of(MAIN, DOCUMENT)
                + "<Default Extension=\"bin\" ContentType=\"application/vnd.ms-office.vbaProject\"/>",
            &[MAIN, "word/other.bin"],
            unsupported(hint::MACROS),
        ),
        (
            override_of(MAIN, DOCUMENT) + &override_of("xl/workbook.xml", SHEET),
            &[MAIN, "xl/workbook.xml"],
            unsupported(hint::UNUSUAL),
        ),
    ] {
        assert_eq!(of(&package(&elements, names)), expected, "{elements} {names:?}");
    }
}

#[test]
fn other_archives_are_told_what_to_do() {
    let empty: &[u8] = b"";
    for (entries, expected) in [
        (&[("letter.txt", empty)][..], hint::ARCHIVE),
        (&[(MAIN, empty)], hint::ARCHIVE),
        (
            &[("mimetype", b"application/vnd.oasis.opendocument.text")],
            hint::DOCUMENT,
        ),
        (&[("preview.jpg", empty), ("Index/Document.iwa", empty)], hint::DOCUMENT),
    ] {
        assert_eq!(of(&RawZip::of(entries).finish()), unsupported(expected));
    }
    assert_eq!(of(&RawZip::new().finish()), unsupported(hint::ARCHIVE));
}
