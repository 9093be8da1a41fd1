//! Whatever the bytes are: readers of Word documents do not panic, and every reader ends with no more text than is allowed.

use std::panic::catch_unwind;

use proptest::prelude::*;

use super::samples::{HELVETICA, JAPANESE, Piece, doc, docx, line, package, paragraph, part, pdf_of, relationships};
use super::*;

fn word_document() -> Vec<u8> {
    let notes = part(
        "footnotes",
        "<w:footnote w:id=\"1\"><w:p><w:r><w:t>note</w:t></w:r></w:p></w:footnote>",
    );
    package(&[
        (
            "_rels/.rels",
            &relationships(&[("officeDocument", "word/document.xml")]),
        ),
        (
            "word/_rels/document.xml.rels",
            &relationships(&[("footnotes", "footnotes.xml"), ("header", "header1.xml")]),
        ),
        ("word/document.xml", &part("document", &paragraph("body &amp; text"))),
        ("word/footnotes.xml", &notes),
        ("word/header1.xml", &part("hdr", &paragraph("head"))),
    ])
}

fn old_document() -> Vec<u8> {
    doc(&[
        Piece(true, "Drug\u{7}Dose\u{7}\u{7}see \u{13} X \u{14}here\u{15}\r"),
        Piece(false, "患者 🦓\r"),
    ])
}

fn pdf_document() -> Vec<u8> {
    let line = line("text", 700);
    pdf_of(&[(HELVETICA, &line), (JAPANESE, &line), (HELVETICA, &line)])
}

/// Some bytes of a sample changed, and its end cut off.
fn changed(sample: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let places = proptest::collection::vec((0..sample.len(), any::<u8>()), 0..8);
    (places, 0..=sample.len() / 4).prop_map(move |(places, cut)| {
        let mut bytes = sample.clone();
        for (place, byte) in places {
            bytes[place] = byte;
        }
        bytes.truncate(bytes.len() - cut);
        bytes
    })
}

fn keeps_within_limits(text: Result<DocumentText, FileReason>) {
    if let Ok(text) = text {
        assert!(text.pages.iter().map(String::len).sum::<usize>() <= MAX_TEXT_BYTES);
        assert!(!text.pages.concat().contains(['\0', '\u{c}']));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn changed_word_documents_do_not_panic(bytes in changed(word_document())) {
        keeps_within_limits(text_of(FileType::Docx, &bytes));
    }

    #[test]
    fn changed_parts_do_not_panic(xml in changed(part("document", &[
        paragraph("a &#65; b"),
        "<w:tbl><w:tr><w:tc><w:p/></w:tc></w:tr></w:tbl>".to_owned(),
        "<w:p><w:r><w:rPr><w:vanish/></w:rPr><w:br/></w:r></w:p>".to_owned(),
    ].concat()).into_bytes())) {
        let xml = String::from_utf8_lossy(&xml).into_owned();
        keeps_within_limits(text_of(FileType::Docx, &package(&[("word/document.xml", &xml)])));
    }

    #[test]
    fn changed_old_documents_do_not_panic(bytes in changed(old_document())) {
        keeps_within_limits(text_of(FileType::Doc, &bytes));
    }

    #[test]
    fn any_bytes_are_no_document(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        for file_type in [FileType::Docx, FileType::Doc] {
            keeps_within_limits(text_of(file_type, &bytes));
        }
    }

    /// The reader of PDF may panic before it knows the pages: whoever calls it catches that.
    #[test]
    fn changed_pdfs_end(bytes in changed(pdf_document())) {
        if let Ok(text) = catch_unwind(|| text_of(FileType::Pdf, &bytes)) {
            keeps_within_limits(text);
        }
    }
}

#[test]
fn elements_within_elements_do_not_fill_the_stack() {
    let deep = |name: &str| {
        format!(
            "{}{}",
            format!("<w:{name}>").repeat(200_000),
            format!("</w:{name}>").repeat(200_000)
        )
    };
    for name in ["p", "r", "tc", "t", "pPr", "tbl"] {
        keeps_within_limits(text_of(FileType::Docx, &docx(&deep(name))));
    }
}
