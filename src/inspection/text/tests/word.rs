use super::samples::{docx, package, paragraph, part, relationships};
use super::*;

fn word(bytes: &[u8]) -> String {
    of(FileType::Docx, bytes)
}

fn body(inside: &str) -> String {
    word(&docx(inside))
}

#[test]
fn paragraphs_are_lines() {
    let text = body(&[paragraph("Dear Sir,"), "<w:p/>".to_owned(), paragraph("Grüße 患者")].concat());
    assert_eq!(text, "Dear Sir,\n\nGrüße 患者");
}

#[test]
fn what_stands_for_a_character_is_one() {
    for (run, expected) in [
        ("<w:t>a</w:t><w:tab/><w:t>b</w:t>", "a\tb"),
        ("<w:t>a</w:t><w:br/><w:t>b</w:t><w:cr/><w:t>c</w:t>", "a\nb\nc"),
        (
            "<w:t>a</w:t><w:noBreakHyphen/><w:t>b</w:t><w:softHyphen/><w:t>c</w:t>",
            "a-bc",
        ),
        (
            "<w:t>&lt;a&gt; &amp; &#x42;&#67;&quot;&apos;&unknown;</w:t>",
            "<a> & BC\"'",
        ),
        ("<w:t><![CDATA[<x>]]></w:t>", "<x>"),
        ("<w:t>one\ntwo</w:t>", "one two"),
        (
            "<w:t>a</w:t><w:instrText>PAGE</w:instrText><w:delText>gone</w:delText><w:t>b</w:t>",
            "ab",
        ),
        ("<w:rPr><w:vanish/></w:rPr><w:t>secret</w:t>", ""),
        ("<w:rPr><w:vanish w:val=\"false\"/></w:rPr><w:t>shown</w:t>", "shown"),
        (
            "<w:t>a</w:t><w:footnoteReference w:id=\"2\"/><w:endnoteReference w:id=\"3\"/>",
            "a[2][e3]",
        ),
        (
            "<mc:AlternateContent><mc:Choice><w:t>new</w:t></mc:Choice><mc:Fallback><w:t>old\
                </w:t></mc:Fallback></mc:AlternateContent>",
            "new",
        ),
    ] {
        assert_eq!(body(&format!("<w:p><w:r>{run}</w:r></w:p>")), expected, "{run}");
    }
}

#[test]
fn text_is_that_of_the_last_version() {
    let text = body(
        "<w:p><w:pPr><w:tabs><w:tab w:val=\"left\"/></w:tabs><w:rPr><w:vanish/></w:rPr></w:pPr><w:r>\
            <w:t>stays </w:t></w:r>\
         <w:del><w:r><w:delText>deleted</w:delText></w:r></w:del><w:ins><w:r><w:t>inserted</w:t></w:r></w:ins>\
         <w:moveFrom><w:r><w:t>moved</w:t></w:r></w:moveFrom></w:p>",
    );
    assert_eq!(text, "stays inserted");
}

#[test]
fn rows_of_a_table_are_lines_with_tabs() {
    let cell = |text: &str| format!("<w:tc><w:tcPr/>{text}</w:tc>");
    let row = |cells: &[String]| format!("<w:tr>{}</w:tr>", cells.concat());
    let two = cell(&[paragraph("two"), paragraph("lines")].concat());
    let table = [
        row(&[cell(&paragraph("Drug")), cell(&paragraph("Dose"))]),
        row(&[cell(&paragraph("")), cell(&paragraph("5 mg"))]),
        row(&[two, cell("<w:p><w:r><w:t>a</w:t><w:br/><w:t>b</w:t></w:r></w:p>")]),
    ];
    let text = body(&format!(
        "{}<w:tbl>{}</w:tbl>{}",
        paragraph("before"),
        table.concat(),
        paragraph("after")
    ));
    assert_eq!(text, "before\nDrug\tDose\n\t5 mg\ntwo lines\ta b\nafter");
}

#[test]
fn a_text_box_does_not_hide_or_double_anything() {
    let text = body(
        "<w:p><w:r><w:t>before </w:t><mc:AlternateContent><mc:Choice><w:drawing><w:txbxContent><w:p><w:r>\
            <w:rPr><w:vanish/></w:rPr>\
         <w:t>hidden</w:t></w:r><w:r><w:t>in the box</w:t></w:r></w:p></w:txbxContent>\
             </w:drawing></mc:Choice><mc:Fallback><w:pict>\
         <w:txbxContent><w:p><w:r><w:t>in the box</w:t></w:r></w:p></w:txbxContent>\
             </w:pict></mc:Fallback></mc:AlternateContent>\
         <w:t> after</w:t></w:r></w:p>",
    );
    assert_eq!(text, "before in the box\n after");
}

#[test]
fn notes_headers_and_footers_follow_the_body_each_once() {
    let notes = "<w:footnote w:type=\"separator\" w:id=\"-1\"><w:p><w:r><w:t>---</w:t></w:r></w:p>\
        </w:footnote><w:footnote w:id=\"1\">\
        <w:p><w:r><w:footnoteRef/><w:t xml:space=\"preserve\"> see there</w:t></w:r></w:p></w:footnote>";
    let bytes = package(&[
        (
            "_rels/.rels",
            &relationships(&[("officeDocument", "word/document2.xml")]),
        ),
        (
            "word/_rels/document2.xml.rels",
            &relationships(&[
                ("header", "header1.xml"),
                ("header", "/word/header2.xml"),
                ("footer", "footer1.xml"),
                ("footnotes", "footnotes.xml"),
                ("header", "missing.xml"),
                ("footer", "broken.xml"),
                ("comments", "comments.xml"),
            ]),
        ),
        ("word/document2.xml", &part("document", &paragraph("body"))),
        // Not what the package leads to.
        ("word/document.xml", &part("document", &paragraph("decoy"))),
        ("word/header1.xml", &part("hdr", &paragraph("Clinic"))),
        ("word/header2.xml", &part("hdr", &paragraph("Clinic"))),
        ("word/footer1.xml", &part("ftr", &paragraph("Page"))),
        ("word/footnotes.xml", &part("footnotes", notes)),
        ("word/broken.xml", "<w:ftr><w:p><w:r><w:t>half"),
        ("word/comments.xml", &part("comments", &paragraph("comment"))),
    ]);
    assert_eq!(word(&bytes), "body\n\n[1] see there\n\nClinic\n\nPage\n\nhalf");
}

#[test]
fn files_of_programs_are_read() {
    let node = include_bytes!("../../../../tests/fixtures/files/node.docx");
    assert_eq!(word(node), "Hello");
}

#[test]
fn a_document_in_utf_16_is_read() {
    let xml = part("document", &paragraph("Grüße")).replace("UTF-8", "UTF-16");
    for (mark, unit) in [
        ([0xff, 0xfe], u16::to_le_bytes as fn(u16) -> [u8; 2]),
        ([0xfe, 0xff], u16::to_be_bytes),
    ] {
        let bytes: Vec<u8> = mark.into_iter().chain(xml.encode_utf16().flat_map(unit)).collect();
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zip.start_file("word/document.xml", zip::write::SimpleFileOptions::default())
            .unwrap();
        std::io::Write::write_all(&mut zip, &bytes).unwrap();
        assert_eq!(word(&zip.finish().unwrap().into_inner()), "Grüße");
    }
}

#[test]
fn what_is_no_document_is_unreadable() {
    let declared = "<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY a \"aaaa\">]><w:document xmlns:w=\"w\">\
        <w:t>&a;</w:t></w:document>";
    let relations = relationships(&[("officeDocument", "word/nothing.xml")]);
    for bytes in [
        package(&[("word/document.xml", declared)]),
        package(&[("word/document.xml", "<w:document></w:other>")]),
        package(&[("word/document.xml", "\u{0}\u{1}<")]),
        package(&[("other.xml", "<a/>")]),
        package(&[
            ("_rels/.rels", &relations),
            ("word/document.xml", &part("document", "")),
        ]),
        package(&[("_rels/.rels", declared), ("word/document.xml", &part("document", ""))]),
        b"PK".to_vec(),
        Vec::new(),
    ] {
        assert_eq!(text_of(FileType::Docx, &bytes), Err(FileReason::Unreadable));
    }
}

#[test]
fn a_long_document_is_cut() {
    let text = text_of(
        FileType::Docx,
        &docx(&paragraph(&"long text ".repeat(100)).repeat(1_000)),
    )
    .unwrap();
    assert!(text.is_cut);
    assert!(text.pages[0].len() <= MAX_TEXT_BYTES && text.pages[0].len() > MAX_TEXT_BYTES - 100);
    let text = text_of(FileType::Docx, &docx(&paragraph(&"患".repeat(MAX_TEXT_BYTES)))).unwrap();
    assert!(text.is_cut && text.pages[0].len() == MAX_TEXT_BYTES / 3 * 3);
}
