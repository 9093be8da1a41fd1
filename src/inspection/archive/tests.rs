use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::*;

/// An archive of these entries.
fn archive<'a>(entries: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn checked(bytes: &[u8]) -> Result<usize, FileReason> {
    let mut archives = 0;
    check_limits(&Archive::open(bytes)?, &|_, _| false, &mut |part| {
        archives += usize::from(matches!(part, Part::Archive(_)));
        Ok(())
    })?;
    Ok(archives)
}

fn failure<T>(result: Result<T, FileReason>) -> Option<FileReason> {
    result.err()
}

/// Replaces every `from` by `to`, which is as long.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
    bytes
}

#[test]
fn what_was_packed_comes_out() {
    let long = b"word ".repeat(20_000);
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        for large in [false, true] {
            let options = SimpleFileOptions::default()
                .compression_method(method)
                .large_file(large);
            let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
            zip.start_file("empty", options).unwrap();
            zip.start_file("Word/Document.xml", options).unwrap();
            zip.write_all(&long).unwrap();
            let bytes = zip.finish().unwrap().into_inner();
            let archive = Archive::open(&bytes).unwrap();
            assert_eq!(archive.entries().len(), 2);
            let entry = archive.find("word/document.XML").unwrap();
            assert_eq!(archive.read(entry, long.len()), Ok(long.clone()));
            assert_eq!(archive.read(entry, long.len() - 1), Err(FileReason::LimitsExceeded));
            assert_eq!(archive.read(archive.find("empty").unwrap(), 0), Ok(Vec::new()));
            assert_eq!(checked(&bytes), Ok(0));
        }
    }
}

#[test]
fn names_that_lead_outside_are_not_read() {
    for name in ["../a", "a/../../b", "/etc/x", "\\x", "a\\..\\b", "C:x", "..", "a\0b"] {
        // The writer cleans names; the bytes are put in afterwards.
        let placeholder = "_".repeat(name.len());
        let bytes = archive([(placeholder.as_str(), &b"content"[..])]);
        assert!(Archive::open(&bytes).is_ok());
        let bytes = replaced(&bytes, placeholder.as_bytes(), name.as_bytes());
        assert_eq!(failure(Archive::open(&bytes)), Some(FileReason::Unreadable), "{name}");
    }
    for name in ["a..b", "...", "a/..b"] {
        assert!(Archive::open(&archive([(name, &b""[..])])).is_ok(), "{name}");
    }
}

#[test]
fn an_encrypted_entry_is_told() {
    let bytes = archive([("letter.xml", &b"content"[..])]);
    // The flags of the entry in the directory.
    let at = bytes.windows(4).position(|part| part == b"PK\x01\x02").unwrap() + 8;
    for flag in [1, 1 << 6] {
        let mut bytes = bytes.clone();
        bytes[at] |= flag;
        assert_eq!(failure(Archive::open(&bytes)), Some(FileReason::Encrypted));
    }
}

#[test]
fn two_entries_of_a_name_and_entries_that_overlap_are_not_read() {
    let bytes = archive([("aaaa", &b"first"[..]), ("bbbb", b"second")]);
    assert!(Archive::open(&bytes).is_ok());
    for same in ["bbbb", "BBBB"] {
        let bytes = replaced(&bytes, b"aaaa", same.as_bytes());
        assert_eq!(failure(Archive::open(&bytes)), Some(FileReason::Unreadable), "{same}");
    }
    // Both entries of the directory lead to the first one.
    let directory = bytes.windows(4).rposition(|part| part == b"PK\x01\x02").unwrap();
    let mut overlapping = bytes.clone();
    overlapping[directory + 42..directory + 46].fill(0);
    assert_eq!(failure(Archive::open(&overlapping)), Some(FileReason::Unreadable));
}

#[test]
fn a_thousand_entries_are_allowed_and_those_of_archives_within_count() {
    let of = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("{number}.xml")).collect();
        archive(names.iter().map(|name| (name.as_str(), &b""[..])))
    };
    assert_eq!(checked(&of(1_000)), Ok(0));
    assert_eq!(checked(&of(1_001)), Err(FileReason::LimitsExceeded));
    let within = |count: usize| archive([("inner.docx", of(count).as_slice())]);
    assert_eq!(checked(&within(999)), Ok(1));
    assert_eq!(checked(&within(1_000)), Err(FileReason::LimitsExceeded));
}

#[test]
fn what_comes_out_is_counted_whatever_the_directory_says() {
    let zeros = vec![0; 20 * 1024 * 1024];
    let bomb = archive([("word/document.xml", zeros.as_slice())]);
    assert_eq!(checked(&bomb), Err(FileReason::LimitsExceeded));
    // It states one byte.
    let size = u32::try_from(zeros.len()).unwrap().to_le_bytes();
    let lying = replaced(&bomb, &size, &1_u32.to_le_bytes());
    assert_eq!(checked(&lying), Err(FileReason::LimitsExceeded));
    let archive_within = archive([("word/embeddings/a.docx", bomb.as_slice())]);
    assert_eq!(checked(&archive_within), Err(FileReason::LimitsExceeded));
}

#[test]
fn a_hundred_times_as_much_comes_out_at_most_and_a_hundred_mebibytes() {
    // Bytes that cannot be packed, then as many zeros as make the ratio.
    let noise: Vec<u8> = (0_u32..60_000)
        .flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_be_bytes())
        .collect();
    let with_zeros = |bytes: usize| archive([("noise", noise.as_slice()), ("zeros", &vec![0; bytes])]);
    let size = with_zeros(10_000_000).len();
    assert_eq!(checked(&with_zeros(size * 90 - noise.len())), Ok(0));
    assert_eq!(checked(&with_zeros(size * 120)), Err(FileReason::LimitsExceeded));
    // However small it is: a megabyte is no bomb.
    assert_eq!(checked(&archive([("zeros", &vec![0; 1024 * 1024][..])])), Ok(0));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for number in 0..101 {
        zip.start_file(number.to_string(), stored).unwrap();
        zip.write_all(&vec![0; 1024 * 1024]).unwrap();
    }
    assert_eq!(
        checked(&zip.finish().unwrap().into_inner()),
        Err(FileReason::LimitsExceeded)
    );
}

#[test]
fn archives_deeper_than_one_level_are_counted_as_bytes() {
    let deep = archive([("x", &vec![0; 20 * 1024 * 1024][..])]);
    let middle = archive([("deep.zip", deep.as_slice())]);
    assert_eq!(checked(&archive([("middle.zip", middle.as_slice())])), Ok(1));
    // One within that cannot be read is not taken for harmless.
    let broken = [SIGNATURE, &b"no archive"[..]].concat();
    assert_eq!(
        checked(&archive([("a.zip", broken.as_slice())])),
        Err(FileReason::Unreadable)
    );
}

#[test]
fn no_part_of_an_archive_is_read_as_one() {
    let bytes = archive([("a", &b"content"[..]), ("b", &b"x".repeat(300))]);
    for length in 0..bytes.len() {
        assert!(Archive::open(&bytes[..length]).is_err(), "{length}");
    }
}

#[test]
fn only_an_entry_that_begins_as_an_archive_is_opened_as_one() {
    for place in [1, 32 * 1024, 64 * 1024] {
        let text = [&vec![b'x'; place][..], SIGNATURE, b"only words"].concat();
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
            let options = SimpleFileOptions::default().compression_method(method);
            zip.start_file("text", options).unwrap();
            zip.write_all(&text).unwrap();
            assert_eq!(checked(&zip.finish().unwrap().into_inner()), Ok(0), "{place}");
        }
    }
}

#[test]
fn an_entry_is_kept_whole_for_its_first_bytes_also_within() {
    let long = [&b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"[..], &vec![7; 100_000]].concat();
    let inner = archive([("within", long.as_slice()), ("short", b"\xd0")]);
    let bytes = archive([
        ("long", long.as_slice()),
        ("other", &b"\xd1 other"[..]),
        ("a.zip", &inner),
    ]);
    let mut seen = Vec::new();
    let wanted = |_: &[u8], head: &[u8]| head.starts_with(b"\xd0");
    check_limits(&Archive::open(&bytes).unwrap(), &wanted, &mut |part| {
        if let Part::Entry { name, content } = part {
            seen.push((String::from_utf8_lossy(name).into_owned(), content.len()));
        }
        Ok(())
    })
    .unwrap();
    let expected = [("long", 100_008), ("within", 100_008), ("short", 1)];
    assert_eq!(seen, expected.map(|(name, length)| (name.to_owned(), length)));
}

#[test]
fn a_long_end_record_that_says_something_else_than_the_usual_one_is_not_read() {
    let plain = archive([("first", &b"content"[..]), ("second", b"content")]);
    let end = plain.len() - 22;
    let field = |at: usize| u64::from(u32::from_le_bytes(plain[end + at..end + at + 4].try_into().unwrap()));
    let (length, start) = (field(12), field(16));
    let with_long = |numbers: [u64; 3], own_length: u64, saturated: bool| {
        let mut bytes = plain[..end].to_vec();
        let at = bytes.len() as u64;
        bytes.extend_from_slice(b"PK\x06\x06");
        bytes.extend(own_length.to_le_bytes());
        bytes.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for number in [numbers[0], numbers[0], numbers[1], numbers[2]] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend_from_slice(b"PK\x06\x07\0\0\0\0");
        bytes.extend(at.to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        let mut usual = plain[end..].to_vec();
        if saturated {
            usual[8..20].fill(0xff);
        }
        bytes.extend(usual);
        Archive::open(&bytes).map(|archive| archive.entries().len())
    };
    for saturated in [false, true] {
        assert_eq!(with_long([2, length, start], 44, saturated), Ok(2));
        assert_eq!(
            with_long([2, length, start], 45, saturated),
            Err(FileReason::Unreadable)
        );
    }
    // The second entry alone, which who takes the usual record does not see alone.
    let second = plain.windows(4).rposition(|part| part == b"PK\x01\x02").unwrap() as u64;
    let alone = [1, end as u64 - second, second];
    assert_eq!(with_long(alone, 44, true), Ok(1));
    assert_eq!(with_long(alone, 44, false), Err(FileReason::Unreadable));
}

proptest::proptest! {
    #[test]
    fn a_changed_archive_is_read_without_a_panic(at: proptest::sample::Index, byte: u8, length: proptest::sample::Index) {
        let inner = archive([("inner", &b"content"[..])]);
        let mut bytes = archive([("a", &b"content".repeat(50)[..]), ("b.zip", &inner)]);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = checked(&bytes);
        let _ = checked(&bytes[..length.index(bytes.len())]);
    }
}
