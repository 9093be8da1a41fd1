//! Whatever the bytes are, there is an answer, and no more is read than is promised: [`of`] checks it.

use cura_domain::file_type::CONTENT_TYPES;
use proptest::prelude::*;
use proptest::sample::Index;

use super::raw_zip::RawZip;
use super::samples;
use super::*;
use crate::scan::detect::contents::Contents;
use crate::scan::detect::directory::{Directory, Entry};

const BEGINNINGS: [&[u8]; 12] = [
    b"",
    b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
    b"\xff\xd8\xff",
    b"GIF89a",
    b"RIFF\x40\0\0\0WEBPVP8 ",
    b"%PDF-",
    b"PK\x03\x04",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    b"\0\0\0\x20ftypmif1",
    b"<?xml",
    b"\xff\xfe",
    b"BM",
];

/// A change of a file.
#[derive(Debug, Clone)]
enum Edit {
    Set(Index, u8),
    Flip(Index, u32),
    /// Four bytes, as a number of each order or none in particular.
    Number(Index, u32),
    Cut(Index),
    Remove(Index, usize),
    /// Some bytes again, at another place.
    Repeat(Index, Index, usize),
    Append(Vec<u8>),
}

impl Edit {
    fn apply(self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        if length == 0 {
            return;
        }
        match self {
            Self::Set(at, byte) => bytes[at.index(length)] = byte,
            Self::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Self::Number(at, number) => {
                let at = at.index(length);
                let end = length.min(at + 4);
                bytes[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
            }
            Self::Cut(at) => bytes.truncate(at.index(length)),
            Self::Remove(at, count) => {
                let at = at.index(length);
                bytes.drain(at..length.min(at + count));
            }
            Self::Repeat(from, to, count) => {
                let from = from.index(length);
                let again = bytes[from..length.min(from + count)].to_vec();
                let to = to.index(length);
                bytes.splice(to..to, again);
            }
            Self::Append(more) => bytes.extend(more),
        }
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    let number = prop_oneof![
        any::<u32>(),
        0..600_u32,
        Just(u32::MAX),
        Just(0xffff_fffe),
        Just(0x7fff_ffff),
        Just(0x8000_0000)
    ];
    let at = any::<Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (at(), 0..8_u32).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        (at(), number).prop_map(|(at, number)| Edit::Number(at, number)),
        at().prop_map(Edit::Cut),
        (at(), 1..600_usize).prop_map(|(at, count)| Edit::Remove(at, count)),
        (at(), at(), 1..600_usize).prop_map(|(from, to, count)| Edit::Repeat(from, to, count)),
        prop::collection::vec(any::<u8>(), 0..100).prop_map(Edit::Append),
    ]
}

/// Documents in archives of each kind.
fn archives() -> Vec<Vec<u8>> {
    let list = samples::content_types(&samples::override_of("word/document.xml", samples::DOCUMENT));
    let entries: [(&str, &[u8]); 2] = [(CONTENT_TYPES, list.as_bytes()), ("word/document.xml", b"")];
    vec![
        samples::of_type(FileType::Docx),
        RawZip::of(&entries).finish(),
        RawZip::of(&entries).finish_long((u16::MAX, u32::MAX, u32::MAX)),
        // Behind it another, which says something else.
        [
            RawZip::of(&entries).finish(),
            RawZip::of(&[(CONTENT_TYPES, b"<Types/>")]).finish(),
        ]
        .concat(),
    ]
}

/// The list of content types, as it is read here.
fn list_here(bytes: &[u8]) -> Vec<u8> {
    let mut file = Cursor::new(bytes);
    let mut contents = Contents::new(&mut file, bytes.len() as u64);
    let directory = Directory::read(&mut contents).unwrap();
    let entries = directory.entries().unwrap();
    let is_list = |entry: &&Entry<'_>| entry.name.eq_ignore_ascii_case(CONTENT_TYPES.as_bytes());
    let list = entries.iter().find(is_list).unwrap();
    directory.content(&mut contents, list, 1_000_000).unwrap()
}

/// The same, as another reader finds it, if it finds it.
fn list_elsewhere(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).ok()?;
    let mut list = Vec::new();
    zip.by_name(CONTENT_TYPES).ok()?.read_to_end(&mut list).ok()?;
    Some(list)
}

/// Honest files, those that are written in other ways, too.
fn file() -> impl Strategy<Value = Vec<u8>> {
    let mut files: Vec<Vec<u8>> = samples::all().into_iter().map(|(_, bytes)| bytes).collect();
    files.extend(archives());
    files.push(samples::compound(
        cfb::Version::V4,
        &[("/WordDocument", 5000), ("/a/b", 10)],
    ));
    prop::sample::select(files)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_have_an_answer(
        begin in prop::sample::select(&BEGINNINGS[..]),
        rest in prop::collection::vec(any::<u8>(), 0..1000),
    ) {
        let _ = of(&[begin, &rest].concat());
    }

    #[test]
    fn a_changed_file_has_an_answer(mut bytes in file(), edits in prop::collection::vec(edit(), 1..8)) {
        let was = of(&bytes);
        for edit in edits {
            edit.apply(&mut bytes);
        }
        // Changes do not make one type of another.
        if let (Ok(was), Ok(is)) = (was, of(&bytes)) {
            prop_assert_eq!(was, is);
        }
    }

    #[test]
    fn an_archive_says_the_same_to_other_readers(
        mut bytes in prop::sample::select(archives()),
        edits in prop::collection::vec(edit(), 1..6),
    ) {
        for edit in edits {
            edit.apply(&mut bytes);
        }
        if let (Ok(FileType::Docx), Some(other)) = (of(&bytes), list_elsewhere(&bytes)) {
            prop_assert_eq!(list_here(&bytes), other);
        }
    }

    #[test]
    fn the_end_of_an_archive_may_say_anything(
        numbers in any::<(u16, u32, u32)>(),
        small in (0..4_u16, 0..400_u32, 0..400_u32),
        long in any::<bool>(),
    ) {
        let zip = || RawZip::of(&[("[Content_Types].xml", b"<Types/>"), ("word/document.xml", b"")]);
        for (entries, length, start) in [numbers, small] {
            let bytes = match long {
                true => zip().finish_long((entries, length, start)),
                false => zip().finish_saying(entries, length, start, b""),
            };
            prop_assert!(of(&bytes).is_err());
        }
    }
}
