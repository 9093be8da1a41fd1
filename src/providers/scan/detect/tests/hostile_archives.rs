//! Archives that lie, that readers would see differently, or that want to do harm.

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::archives::{LIST, MAIN, list, package};
use super::raw_zip::{RawEntry, RawZip};
use super::samples::{DOCUMENT, content_types, override_of};
use super::*;

fn deflated(content: &[u8]) -> Vec<u8> {
    let mut packing = DeflateEncoder::new(Vec::new(), Compression::fast());
    packing.write_all(content).unwrap();
    packing.finish().unwrap()
}

/// A document whose list of content types is the given one, packed.
fn with_list(list: &str) -> Vec<u8> {
    let mut zip = RawZip::new();
    let packed = deflated(list.as_bytes());
    zip.add(&RawEntry {
        method: 8,
        packed: &packed,
        ..RawEntry::stored(LIST, list.as_bytes())
    });
    zip.add(&RawEntry::stored(MAIN, b""));
    zip.finish()
}

#[test]
fn long_end_records_are_read_and_must_agree() {
    let list = list();
    let zip = || RawZip::of(&[(LIST, list.as_bytes()), (MAIN, b"")]);
    let (entries, length, start) = zip().numbers();
    for (short, expected) in [
        ((u16::MAX, u32::MAX, u32::MAX), Ok(FileType::Docx)),
        ((entries, length, u32::MAX), Ok(FileType::Docx)),
        ((entries, length, start), Ok(FileType::Docx)),
        ((entries, length, start - 1), DAMAGED),
        ((entries, length + 1, start), DAMAGED),
        ((entries + 1, length, start), DAMAGED),
    ] {
        assert_eq!(of(&zip().finish_long(short)), expected, "{short:?}");
    }
    let whole = zip().finish_long((u16::MAX, u32::MAX, u32::MAX));
    for end in 0..whole.len() {
        assert_eq!(of(&whole[..end]), DAMAGED, "until {end}");
    }
    // Every byte of both records and of the locator between them matters, except the versions and the number of disks.
    let records = usize::try_from(start + length).unwrap();
    let versions = records + 12..records + 16;
    let disks = records + 56 + 16..records + 56 + 20;
    for at in (records..whole.len()).filter(|at| !versions.contains(at) && !disks.contains(at)) {
        let mut wrong = whole.clone();
        wrong[at] ^= 0x15;
        assert_eq!(of(&wrong), DAMAGED, "{}", at - records);
    }
}

#[test]
fn long_numbers_of_an_entry_are_read_where_they_are_needed() {
    let list = list();
    let length = (list.len() as u64).to_le_bytes();
    let extra = |numbers: &[[u8; 8]]| {
        let numbers = numbers.concat();
        let length = u16::try_from(numbers.len()).unwrap().to_le_bytes();
        // Behind a field of another kind.
        [&b"UT\x01\0x\x01\0"[..], &length, &numbers].concat()
    };
    let document = |extra: &[u8], at: Option<u32>| {
        let mut zip = RawZip::new();
        zip.add(&RawEntry {
            extra,
            packed_size: Some(u32::MAX),
            unpacked_size: Some(u32::MAX),
            at,
            ..RawEntry::stored(LIST, list.as_bytes())
        });
        zip.add(&RawEntry::stored(MAIN, b""));
        of(&zip.finish())
    };
    let nowhere = u64::MAX.to_le_bytes();
    assert_eq!(document(&extra(&[length, length]), None), Ok(FileType::Docx));
    assert_eq!(
        document(&extra(&[length, length, [0; 8]]), Some(u32::MAX)),
        Ok(FileType::Docx)
    );
    assert_eq!(document(&extra(&[length]), None), DAMAGED);
    assert_eq!(document(&[], None), DAMAGED);
    assert_eq!(document(&extra(&[length, length, nowhere]), Some(u32::MAX)), DAMAGED);
    assert_eq!(document(&extra(&[length, nowhere]), None), DAMAGED);
    assert_eq!(document(&extra(&[nowhere, length]), None), unsupported(hint::UNUSUAL));
}

#[test]
fn a_directory_that_is_elsewhere_or_lies_is_damaged() {
    let list = list();
    let zip = || RawZip::of(&[(LIST, list.as_bytes()), (MAIN, b"")]);
    let (entries, length, start) = zip().numbers();
    let comment = [b'c'; 1000];
    assert_eq!(
        of(&zip().finish_saying(entries, length, start, &comment)),
        Ok(FileType::Docx)
    );
    for (entries, length, start) in [
        (entries, length, start + 1),
        (entries, length, u32::MAX - 1),
        (entries, length + 1, start),
        (entries, u32::MAX - 1, 0),
        (entries, 0, start + length),
        (entries - 1, length, start),
        (entries + 1, length, start),
        (0, length, start),
    ] {
        assert_eq!(
            of(&zip().finish_saying(entries, length, start, b"")),
            DAMAGED,
            "{entries} {length} {start}"
        );
    }
    // The end of another archive in the comment is the last one, and where it says there is no directory.
    let other = zip().finish();
    assert_eq!(of(&zip().finish_saying(entries, length, start, &other)), DAMAGED);
}

#[test]
fn an_entry_that_lies_is_damaged() {
    let list = list();
    let honest = || RawEntry::stored(LIST, list.as_bytes());
    let size = u32::try_from(list.len()).unwrap();
    let document = |entry: RawEntry<'_>| {
        let mut zip = RawZip::new();
        zip.add(&RawEntry::stored(MAIN, b""));
        zip.add(&entry);
        of(&zip.finish())
    };
    assert_eq!(document(honest()), Ok(FileType::Docx));
    for (entry, expected) in [
        (
            RawEntry {
                local_name: "[Content_Types].xmL",
                ..honest()
            },
            DAMAGED,
        ),
        (
            RawEntry {
                local_name: "a",
                ..honest()
            },
            DAMAGED,
        ),
        (
            RawEntry {
                at: Some(0),
                ..honest()
            },
            DAMAGED,
        ),
        (
            RawEntry {
                at: Some(u32::MAX - 1),
                ..honest()
            },
            DAMAGED,
        ),
        (
            RawEntry {
                packed_size: Some(size + 1),
                ..honest()
            },
            DAMAGED,
        ),
        (
            RawEntry {
                packed_size: Some(size - 1),
                ..honest()
            },
            DAMAGED,
        ),
        (
            RawEntry {
                unpacked_size: Some(size - 1),
                ..honest()
            },
            DAMAGED,
        ),
        (
            RawEntry {
                unpacked_size: Some(u32::MAX - 1),
                ..honest()
            },
            unsupported(hint::UNUSUAL),
        ),
        (RawEntry { method: 8, ..honest() }, DAMAGED),
        (RawEntry { method: 12, ..honest() }, unsupported(hint::UNUSUAL)),
        (RawEntry { flags: 1, ..honest() }, unsupported(hint::PASSWORD)),
        // Other bytes than those that the checksum is of.
        (
            RawEntry {
                packed: &[b' ', b'\n'].repeat(list.len())[..list.len()],
                ..honest()
            },
            DAMAGED,
        ),
    ] {
        assert_eq!(document(entry), expected);
    }
}

#[test]
fn a_name_that_stands_twice_decides_nothing() {
    let (list, other) = (list(), content_types(""));
    let entries = |entries: &[(&str, &[u8])]| of(&RawZip::of(entries).finish());
    let (list, other) = (list.as_bytes(), other.as_bytes());
    assert_eq!(
        entries(&[(LIST, list), (MAIN, b""), ("a", b""), ("a", b"")]),
        Ok(FileType::Docx)
    );
    assert_eq!(entries(&[(LIST, list), (MAIN, b""), (LIST, other)]), DAMAGED);
    assert_eq!(
        entries(&[(LIST, list), (MAIN, b""), ("[content_types].XML", other)]),
        DAMAGED
    );
    assert_eq!(entries(&[(LIST, list), (MAIN, b""), (MAIN, b"a")]), DAMAGED);
}

#[test]
fn many_entries_and_a_long_directory_are_unusual() {
    let of_entries = |count: usize| {
        let list = list();
        let mut zip = RawZip::of(&[(LIST, list.as_bytes()), (MAIN, b"")]);
        for _ in 2..count {
            zip.add(&RawEntry::stored("word/media/image.png", b""));
        }
        of(&zip.finish())
    };
    assert_eq!(of_entries(1000), Ok(FileType::Docx));
    assert_eq!(of_entries(1001), unsupported(hint::UNUSUAL));
    let long = "a".repeat(60_000);
    let names = |count: usize| vec![long.as_str(); count];
    assert_eq!(of(&package("", &names(17))), unsupported(hint::ARCHIVE));
    assert_eq!(of(&package("", &names(18))), unsupported(hint::UNUSUAL));
}

#[test]
fn a_list_of_content_types_cannot_unpack_to_more_than_it_may() {
    let spaces = |count: usize| format!("{}{}", list(), " ".repeat(count));
    assert_eq!(of(&with_list(&spaces(200_000))), Ok(FileType::Docx));
    let bomb = spaces(4 * 1024 * 1024);
    let packed = deflated(bomb.as_bytes());
    for (claimed, expected) in [(None, unsupported(hint::UNUSUAL)), (Some(1000), DAMAGED)] {
        let mut zip = RawZip::new();
        zip.add(&RawEntry {
            method: 8,
            packed: &packed,
            unpacked_size: claimed,
            ..RawEntry::stored(LIST, bomb.as_bytes())
        });
        zip.add(&RawEntry::stored(MAIN, b""));
        assert_eq!(of(&zip.finish()), expected);
    }
    // A million blocks with nothing in them.
    let nothing = [0, 0, 0, 0xff, 0xff].repeat(1_000_000);
    let mut zip = RawZip::new();
    zip.add(&RawEntry {
        method: 8,
        packed: &nothing,
        ..RawEntry::stored(LIST, b"")
    });
    assert_eq!(of(&zip.finish()), unsupported(hint::UNUSUAL));
}

#[test]
fn a_list_of_content_types_is_plain_xml() {
    let document = override_of(MAIN, DOCUMENT);
    let entity = document.replace(DOCUMENT, "&t;");
    let laughs = format!("<!DOCTYPE Types [<!ENTITY t \"{DOCUMENT}\">]><Types>{entity}</Types>");
    assert_eq!(of(&with_list(&laughs)), unsupported(hint::UNUSUAL));
    let outside = format!("<!DOCTYPE Types SYSTEM \"file:///etc/passwd\"><Types>{document}</Types>");
    assert_eq!(of(&with_list(&outside)), unsupported(hint::UNUSUAL));
    assert_eq!(
        of(&with_list(&format!("\u{feff}<Types>{document}</Types>"))),
        Ok(FileType::Docx)
    );
    assert_eq!(
        of(&with_list(&format!("<!-- {document} --><Types/>"))),
        unsupported(hint::ARCHIVE)
    );
    let nested = format!("{}{}", "<a>".repeat(50_000), document);
    for damaged in [
        format!("<Types>{entity}</Types>"),
        format!("<Types>{document}</Other>"),
        format!("<Types>{document}<Override PartName=\"/a\"/></Types>"),
        format!("<Types>{document}<Override PartName="),
    ] {
        assert_eq!(of(&with_list(&damaged)), DAMAGED, "{damaged}");
    }
    assert!(of(&with_list(&nested)).is_ok(), "nothing here is as deep as its stack");
    let mut wide = RawZip::of(&[(LIST, b"\xff\xfe<\0T\0")]);
    wide.add(&RawEntry::stored(MAIN, b""));
    assert_eq!(of(&wide.finish()), unsupported(hint::UNUSUAL));
}
