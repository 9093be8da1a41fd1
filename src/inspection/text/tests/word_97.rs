use super::samples::{Piece, doc, doc_with};
use super::*;

fn word(bytes: &[u8]) -> String {
    of(FileType::Doc, bytes)
}

#[test]
fn pieces_of_both_kinds_are_read_in_order() {
    let bytes = doc(&[
        Piece(true, "Dear \u{9c}\u{96}\r"),
        Piece(false, "患者 🦓\r"),
        Piece(true, "\u{fc}ber"),
    ]);
    assert_eq!(word(&bytes), "Dear œ–\n患者 🦓\nüber");
}

#[test]
fn tables_and_fields_are_text() {
    let bytes = doc(&[
        Piece(true, "Drug\u{7}Dose\u{7}\u{7}A\u{7}5 mg\u{7}\u{7}"),
        Piece(false, "see \u{13} HYPERLINK \"x\" \u{14}here\u{15}\r"),
    ]);
    assert_eq!(word(&bytes), "Drug\tDose\nA\t5 mg\nsee here");
}

#[test]
fn comments_are_left_out_and_notes_are_not() {
    let pieces = [
        Piece(true, "body\rnote\rhead\r"),
        Piece(false, "secret\r"),
        Piece(true, "also secret\rend\r"),
    ];
    // The comments begin in one piece and end in the next.
    let bytes = doc_with(&pieces, [5, 5, 5, 0, 19, 4, 0, 0], |_, _| {});
    assert_eq!(word(&bytes), "body\nnote\nhead\nend");
}

#[test]
fn what_is_encrypted_or_broken_is_told() {
    let pieces = || [Piece(true, "text")];
    let of = |change: &dyn Fn(&mut Vec<u8>, &mut Vec<u8>)| {
        text_of(FileType::Doc, &doc_with(&pieces(), [4, 0, 0, 0, 0, 0, 0, 0], change))
    };
    assert!(of(&|_, _| {}).is_ok());
    assert_eq!(of(&|document, _| document[0x0b] |= 1), Err(FileReason::Encrypted));
    type Change<'a> = (&'a str, &'a dyn Fn(&mut Vec<u8>, &mut Vec<u8>));
    let changes: [Change<'_>; 8] = [
        ("no table", &|document, _| document[0x0b] &= !2),
        ("short", &|document, _| document.truncate(0x1a5)),
        ("pieces elsewhere", &|document, _| document[0x1a5] = 0x7f),
        ("pieces too long", &|document, _| document[0x1a9] = 0xff),
        ("no pieces", &|_, table| table[22] = 3),
        ("long list", &|_, table| table[26] = 0xff),
        ("piece outside", &|_, table| table[40] = 0x7f),
        ("lengths too large", &|document, _| document[0x4c..0x54].fill(0xff)),
    ];
    for (what, change) in changes {
        assert_eq!(of(change), Err(FileReason::Unreadable), "{what}");
    }
    assert_eq!(text_of(FileType::Doc, b"no compound file"), Err(FileReason::Unreadable));
}

#[test]
fn documents_of_word_95_are_read() {
    let bytes = doc_with(
        &[Piece(true, "An old letter\rby \u{93}me\u{94}")],
        [0; 8],
        |document, _| {
            document[2..4].copy_from_slice(&104_u16.to_le_bytes());
            document[0x18..0x1c].copy_from_slice(&0x200_u32.to_le_bytes());
            let end = u32::try_from(document.len()).unwrap();
            document[0x1c..0x20].copy_from_slice(&end.to_le_bytes());
        },
    );
    assert_eq!(word(&bytes), "An old letter\nby “me”");
}

#[test]
fn pieces_that_share_their_bytes_do_not_make_a_document_endless() {
    // A hundred thousand pieces with the same hundred thousand characters, none of which is text.
    let bytes = doc_with(&[], [u32::MAX / 2, 0, 0, 0, 0, 0, 0, 0], |document, table| {
        document.resize(0x200 + 100_000, 1);
        let (count, length) = (20_000_u32, 100_000_u32);
        let places = (0..=count).flat_map(|n| (n * length).to_le_bytes());
        let piece = [&[0, 0][..], &(0x400_u32 | 1 << 30).to_le_bytes(), &[0, 0]].concat();
        let list: Vec<u8> = places.chain((0..count).flat_map(|_| piece.clone())).collect();
        let length = u32::try_from(list.len()).unwrap();
        table.truncate(16);
        table.push(2);
        table.extend(length.to_le_bytes());
        table.extend(list);
        document[0x1a6..0x1aa].copy_from_slice(&(length + 5).to_le_bytes());
    });
    let text = text_of(FileType::Doc, &bytes).unwrap();
    assert!(text.is_cut && text.pages.is_empty());
}
