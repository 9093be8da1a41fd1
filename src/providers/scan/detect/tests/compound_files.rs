//! Compound files that are documents, that look like documents, and that want to do harm.

use cfb::Version::{V3, V4};

use super::samples::{compound, of_type};
use super::*;

/// Where the header of a compound file has what.
const BYTE_ORDER: usize = 28;
const SECTOR_SHIFT: usize = 30;
const SMALL_SHIFT: usize = 32;
const DIRECTORY: usize = 48;
const SMALL_BELOW: usize = 56;
const SMALL_TABLE: usize = 60;
const NAMES: usize = 68;
const TABLE: usize = 76;
/// Where an entry of the directory has what.
const KIND: usize = 66;
const LEFT: usize = 68;
const RIGHT: usize = 72;
const CHILD: usize = 76;
const START: usize = 116;
const SIZE: usize = 120;

const SECTOR: usize = 512;
const END_OF_CHAIN: u32 = 0xffff_fffe;

/// A document in sectors of 512 bytes.
fn doc() -> Vec<u8> {
    of_type(FileType::Doc)
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn place(sector: u32) -> usize {
    (usize::try_from(sector).unwrap() + 1) * SECTOR
}

/// What a document becomes by writing these numbers at these places.
fn with(changes: &[(usize, u32)]) -> Result<FileType, Refusal> {
    let mut bytes = doc();
    for (at, number) in changes {
        bytes[*at..*at + 4].copy_from_slice(&number.to_le_bytes());
    }
    of(&bytes)
}

/// Where the entry of this name is in the file, and its number.
fn entry(name: &str) -> (usize, u32) {
    let bytes = doc();
    let wide: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let table = place(number(&bytes, TABLE));
    let mut sector = number(&bytes, DIRECTORY);
    for first in (0..).step_by(SECTOR / 128) {
        for nth in 0..4 {
            let at = place(sector) + nth * 128;
            if bytes[at..].starts_with(&wide) {
                return (at, first + u32::try_from(nth).unwrap());
            }
        }
        sector = number(&bytes, table + usize::try_from(sector).unwrap() * 4);
    }
    unreachable!()
}

#[test]
fn what_lies_at_the_top_tells_the_type() {
    for version in [V3, V4] {
        for (streams, expected) in [
            (&[("/WordDocument", 4096), ("/1Table", 9)][..], Ok(FileType::Doc)),
            // In the shared stream, and empty.
            (&[("/WordDocument", 100)], Ok(FileType::Doc)),
            (&[("/worddocument", 0)], Ok(FileType::Doc)),
            (
                &[("/EncryptionInfo", 9), ("/EncryptedPackage", 5000)],
                unsupported(hint::PASSWORD),
            ),
            (
                &[("/Workbook", 5000), ("/MBD1/WordDocument", 5000)],
                unsupported(hint::SPREADSHEET),
            ),
            (&[("/PowerPoint Document", 5000)], unsupported(hint::PRESENTATION)),
            (&[("/WordDocument/Contents", 5000)], unsupported(hint::OTHER)),
            (&[], unsupported(hint::OTHER)),
        ] {
            assert_eq!(of(&compound(version, streams)), expected, "{streams:?}");
        }
    }
}

#[test]
fn a_large_document_is_whole_to_its_last_sector() {
    for version in [V3, V4] {
        // More sectors than the header can name the table of.
        let bytes = compound(
            version,
            &[("/WordDocument", 9_000_000), ("/Data", 700_000), ("/1Table", 5000)],
        );
        assert_eq!(of(&bytes), Ok(FileType::Doc));
        for lost in [4096, 10_000, 1_000_000, 8_000_000] {
            assert_eq!(of(&bytes[..bytes.len() - lost]), DAMAGED, "{version:?} without {lost}");
        }
    }
}

#[test]
fn a_document_in_large_sectors_is_whole_to_its_last_one() {
    // No part of a sector is without use in this one.
    let bytes = compound(V4, &[("/WordDocument", 8192), ("/1Table", 4096)]);
    for end in (0..bytes.len()).rev().step_by(101) {
        assert_eq!(of(&bytes[..end]), DAMAGED, "until {end}");
    }
}

#[test]
fn a_document_of_hundreds_of_streams_is_known() {
    let names: Vec<String> = (0..500).map(|at| format!("/ObjectPool/_{at}/Contents")).collect();
    let mut streams: Vec<_> = names.iter().map(|name| (name.as_str(), 30)).collect();
    streams.push(("/WordDocument", 4096));
    assert_eq!(of(&compound(V3, &streams)), Ok(FileType::Doc));
    // Longer than a directory may be.
    let names: Vec<String> = (0..8200).map(|at| format!("/{at}")).collect();
    let streams: Vec<_> = names.iter().map(|name| (name.as_str(), 0)).collect();
    assert_eq!(of(&compound(V3, &streams)), unsupported(hint::UNUSUAL));
}

#[test]
fn a_table_that_loops_is_damaged() {
    let bytes = doc();
    let table = place(number(&bytes, TABLE));
    let sectors = bytes.len() / SECTOR - 1;
    let all = |follows: &dyn Fn(usize) -> usize| {
        let changes: Vec<_> = (0..sectors)
            .map(|at| (table + at * 4, u32::try_from(follows(at)).unwrap()))
            .collect();
        with(&changes)
    };
    assert_eq!(all(&|at| at), DAMAGED);
    assert_eq!(all(&|at| (at + 1) % sectors), DAMAGED);
    assert_eq!(all(&|at| at ^ 1), DAMAGED);
    assert_eq!(all(&|_| sectors), DAMAGED);
    assert_eq!(all(&|_| 0xffff_fffe), DAMAGED);
    assert_eq!(all(&|_| 0xffff_ffff), DAMAGED);
    for at in 0..sectors {
        let at = table + at * 4;
        if number(&bytes, at) != END_OF_CHAIN && number(&bytes, at) < 0xffff_fffa {
            assert_eq!(with(&[(at, 0xffff_ffff)]), DAMAGED, "{at}");
            assert_eq!(with(&[(at, 0x00ff_ffff)]), DAMAGED, "{at}");
        }
    }
}

#[test]
fn a_table_of_tables_that_loops_is_damaged() {
    // A file with more sectors than its table has numbers, so that more of it is looked for.
    let mut bytes = doc();
    let at = u32::try_from(bytes.len() / SECTOR - 1).unwrap();
    bytes.extend([0xff; SECTOR - 4]);
    bytes.extend(at.to_le_bytes());
    bytes.extend([0; 200 * SECTOR]);
    assert_eq!(of(&bytes), Ok(FileType::Doc));
    bytes[NAMES..NAMES + 4].copy_from_slice(&at.to_le_bytes());
    assert_eq!(of(&bytes), DAMAGED);
    // One that ends.
    let end = place(at) + SECTOR - 4;
    bytes[end..end + 4].copy_from_slice(&END_OF_CHAIN.to_le_bytes());
    assert_eq!(of(&bytes), Ok(FileType::Doc));
}

#[test]
fn a_file_with_a_longer_table_than_may_be_is_unusual() {
    let mut bytes = vec![0; 129 * 1024 * 1024];
    bytes[..doc().len()].copy_from_slice(&doc());
    assert_eq!(of(&bytes), unsupported(hint::UNUSUAL));
}

#[test]
fn a_tree_that_loops_is_damaged() {
    let directory = place(number(&doc(), DIRECTORY));
    let (word, itself) = entry("WordDocument");
    let (pool, _) = entry("ObjectPool");
    for (at, number) in [
        (word + LEFT, itself),
        (word + RIGHT, itself),
        (word + LEFT, 0),
        (word + RIGHT, 1_000_000),
        (pool + CHILD, itself),
        (pool + CHILD, 0),
        (directory + CHILD, 0),
        (directory + CHILD, 0x7fff_ffff),
    ] {
        assert_eq!(with(&[(at, number)]), DAMAGED, "{at} {number}");
    }
    // A stream has nothing below, and the root nothing beside it: other readers do not look there either.
    assert_eq!(
        with(&[(word + CHILD, 1_000_000), (directory + LEFT, 1_000_000)]),
        Ok(FileType::Doc)
    );
    assert_eq!(with(&[(directory + CHILD, 0xffff_ffff)]), unsupported(hint::OTHER));
}

#[test]
fn an_entry_that_lies_is_damaged() {
    let ((word, _), directory) = (entry("WordDocument"), place(number(&doc(), DIRECTORY)));
    let kind = |entry: usize, kind: u32| (entry + KIND, number(&doc(), entry + KIND) & !0xff | kind);
    for (at, number) in [
        (word + SIZE, 10_000_000),
        (word + SIZE, u32::MAX),
        (word + START, u32::MAX),
        (word + START, END_OF_CHAIN),
        (word + START, 1_000_000),
        (directory + SIZE, 10_000_000),
        (directory + START, 1_000_000),
        kind(word, 0),
        kind(word, 5),
        kind(directory, 1),
        kind(directory, 2),
    ] {
        assert_eq!(with(&[(at, number)]), DAMAGED, "{at} {number}");
    }
    // Only the lower half of a size counts in the old version.
    assert_eq!(with(&[(word + SIZE + 4, 0xdead_beef)]), Ok(FileType::Doc));
    assert_eq!(with(&[kind(word, 1)]), unsupported(hint::OTHER));
}

#[test]
fn a_header_that_lies_is_damaged() {
    let bytes = doc();
    for (at, number) in [
        (BYTE_ORDER, number(&bytes, BYTE_ORDER) ^ 1),
        (SECTOR_SHIFT, 0x0006_0000),
        (SECTOR_SHIFT, 0x0006_001f),
        (SECTOR_SHIFT, 0x0006_000c),
        (SECTOR_SHIFT, 0x0006_ffff),
        (SMALL_SHIFT, 0x0000_0007),
        (DIRECTORY, 0xffff_ffff),
        (DIRECTORY, END_OF_CHAIN),
        (DIRECTORY, 1_000_000),
        (SMALL_BELOW, 0),
        (SMALL_BELOW, u32::MAX),
        (SMALL_TABLE, 1_000_000),
        (TABLE, 1_000_000),
        (TABLE, u32::MAX),
        (TABLE, END_OF_CHAIN),
    ] {
        assert_eq!(with(&[(at, number)]), DAMAGED, "{at} {number:x}");
    }
}
