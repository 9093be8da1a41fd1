//! Documents that are made here.

use std::io::{Cursor, Write};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A PDF of these objects, numbered from 1; the first one is the catalog.
pub(super) fn pdf(objects: &[String]) -> Vec<u8> {
    let mut bytes = b"%PDF-1.7\n".to_vec();
    let mut places = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        places.push(bytes.len());
        bytes.extend(format!("{} 0 obj\n{object}\nendobj\n", number + 1).bytes());
    }
    let table = bytes.len();
    bytes.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).bytes());
    for place in places {
        bytes.extend(format!("{place:010} 00000 n \n").bytes());
    }
    let size = objects.len() + 1;
    bytes.extend(format!("trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n").bytes());
    bytes
}

/// A font that every reader has.
pub(super) const HELVETICA: &str = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>";
/// A Japanese font whose map of characters every reader should have.
pub(super) const JAPANESE: &str = "<< /Type /Font /Subtype /Type0 /BaseFont /HeiseiMin-W3 \
    /Encoding /UniJIS-UCS2-H /DescendantFonts \
    [ << /Type /Font /Subtype /CIDFontType0 /BaseFont /HeiseiMin-W3 /FontDescriptor << /Type /FontDescriptor >> \
    /CIDSystemInfo << /Registry (Adobe) /Ordering (Japan1) /Supplement 2 >> >> ] >>";

/// A PDF with a page for each of these fonts and contents.
pub(super) fn pdf_of(pages: &[(&str, &str)]) -> Vec<u8> {
    let numbers = (0..pages.len())
        .map(|n| format!("{} 0 R", 3 + n * 3))
        .collect::<Vec<_>>()
        .join(" ");
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!(
            "<< /Type /Pages /Kids [ {numbers} ] /Count {} /MediaBox [0 0 595 842] >>",
            pages.len()
        ),
    ];
    for (n, (font, content)) in pages.iter().enumerate() {
        let number = 3 + n * 3;
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /Contents {} 0 R /Resources << /Font << /F1 {} 0 R >> >> >>",
            number + 1,
            number + 2
        ));
        objects.push(format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()));
        objects.push((*font).to_owned());
    }
    pdf(&objects)
}

/// What shows a line of text at a height.
pub(super) fn line(text: &str, height: u32) -> String {
    format!("BT /F1 12 Tf 1 0 0 1 72 {height} Tm ({text}) Tj ET\n")
}

/// A package with these parts.
pub(super) fn package(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in parts {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A list of relationships: the ends of their types, and targets.
pub(super) fn relationships(list: &[(&str, &str)]) -> String {
    let each = list.iter().enumerate().map(|(n, (kind, target))| {
        let kind = format!("http://schemas.openxmlformats.org/officeDocument/2006/relationships/{kind}");
        format!(r#"<Relationship Id="r{n}" Type="{kind}" Target="{target}"/>"#)
    });
    let each: String = each.collect();
    format!(r#"<?xml version="1.0"?><Relationships xmlns="x">{each}</Relationships>"#)
}

/// A part with this inside.
pub(super) fn part(root: &str, inside: &str) -> String {
    format!(r#"<?xml version="1.0" encoding="UTF-8"?><w:{root} xmlns:w="w" xmlns:mc="mc">{inside}</w:{root}>"#)
}

/// A Word document with this in its body.
pub(super) fn docx(body: &str) -> Vec<u8> {
    let document = part("document", &format!("<w:body>{body}</w:body>"));
    package(&[
        (
            "_rels/.rels",
            &relationships(&[("officeDocument", "word/document.xml")]),
        ),
        ("word/document.xml", &document),
    ])
}

/// A paragraph.
pub(super) fn paragraph(text: &str) -> String {
    format!("<w:p><w:r><w:t>{text}</w:t></w:r></w:p>")
}

/// A piece of a DOC: whether its characters take one byte, and its text.
pub(super) struct Piece(pub(super) bool, pub(super) &'static str);

/// Numbers of characters: body, footnotes, headers, macros, comments, endnotes, text boxes, those of headers.
pub(super) type Lengths = [u32; 8];

/// A DOC with these pieces, and these streams changed by `change`.
pub(super) fn doc_with(pieces: &[Piece], lengths: Lengths, change: impl Fn(&mut Vec<u8>, &mut Vec<u8>)) -> Vec<u8> {
    let mut document = vec![0; 0x200];
    document[..4].copy_from_slice(&[0xec, 0xa5, 0xc1, 0]);
    document[0x0b] = 0x02;
    for (n, length) in lengths.iter().enumerate() {
        document[0x4c + n * 4..][..4].copy_from_slice(&length.to_le_bytes());
    }
    let (mut places, mut list, mut place) = (0_u32.to_le_bytes().to_vec(), Vec::new(), 0_u32);
    for Piece(is_one_byte, text) in pieces {
        let at = u32::try_from(document.len()).unwrap();
        if *is_one_byte {
            document.extend(text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()));
            place += u32::try_from(text.chars().count()).unwrap();
        } else {
            document.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
            place += u32::try_from(text.encode_utf16().count()).unwrap();
            document.resize(document.len().next_multiple_of(2), 0);
        }
        places.extend(place.to_le_bytes());
        list.extend([0, 0]);
        list.extend((if *is_one_byte { (at * 2) | 1 << 30 } else { at }).to_le_bytes());
        list.extend([0, 0]);
    }
    // Properties stand before the pieces.
    let length = u32::try_from(places.len() + list.len()).unwrap();
    let clx = [&[1, 3, 0, 9, 9, 9, 2][..], &length.to_le_bytes(), &places, &list].concat();
    let mut table = [&[0xff; 16][..], &clx].concat();
    document[0x1a2..0x1a6].copy_from_slice(&16_u32.to_le_bytes());
    document[0x1a6..0x1aa].copy_from_slice(&u32::try_from(clx.len()).unwrap().to_le_bytes());
    change(&mut document, &mut table);
    let mut file = cfb::CompoundFile::create(Cursor::new(Vec::new())).unwrap();
    for (name, content) in [("/WordDocument", &document), ("/1Table", &table)] {
        file.create_stream(name).unwrap().write_all(content).unwrap();
    }
    file.into_inner().into_inner()
}

/// A DOC of which everything is body.
pub(super) fn doc(pieces: &[Piece]) -> Vec<u8> {
    let count: usize = pieces.iter().map(|piece| piece.1.encode_utf16().count()).sum();
    doc_with(pieces, [u32::try_from(count).unwrap(), 0, 0, 0, 0, 0, 0, 0], |_, _| {})
}
