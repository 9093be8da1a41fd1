use std::io::{Cursor, Write};

use proptest::prelude::*;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

/// A PDF of these objects, numbered from 1; the first one is the catalog.
fn pdf(objects: &[&str], trailer: &str) -> Vec<u8> {
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
    bytes.extend(format!("trailer << /Size {size} /Root 1 0 R {trailer} >>\nstartxref\n{table}\n%%EOF\n").bytes());
    bytes
}

const PAGES: &str = "<< /Type /Pages /Kids [] /Count 0 >>";

fn of_pdf(objects: &[&str]) -> Result<Vec<Finding>, FileReason> {
    findings(FileType::Pdf, &pdf(objects, ""))
}

#[test]
fn scripts_and_programs_in_a_pdf_are_found_wherever_they_lie() {
    for (catalog, third, expected) in [
        ("<< /Type /Catalog /Pages 2 0 R >>", "null", vec![]),
        (
            "<< /Type /Catalog /Pages 2 0 R /OpenAction << /S /JavaScript /JS (x) >> >>",
            "null",
            vec![Finding::PdfJavascript],
        ),
        (
            "<< /Type /Catalog /Pages 2 0 R /OpenAction 3 0 R >>",
            "<< /S /Launch /F (cmd.exe) >>",
            vec![Finding::PdfLaunch],
        ),
        (
            "<< /Type /Catalog /Pages 2 0 R >>",
            "[ [ << /A << /S /Launch >> >> ] << /JS (x) >> ]",
            vec![Finding::PdfJavascript, Finding::PdfLaunch],
        ),
        (
            "<< /Type /Catalog /Pages 2 0 R /Names << /JavaScript 3 0 R >> >>",
            "<< /Names [] >>",
            vec![Finding::PdfJavascript],
        ),
        // Names may be written with escapes.
        (
            "<< /Type /Catalog /Pages 2 0 R /AA << /WC << /#53 /Java#53cript >> >> >>",
            "null",
            vec![Finding::PdfJavascript],
        ),
        (
            "<< /Type /Catalog /Pages 2 0 R >>",
            "<< /AA << /O << /S /Launch >> >> /Length 2 >>\nstream\nq \nendstream",
            vec![Finding::PdfLaunch],
        ),
        // In a text they are only words.
        (
            "<< /Type /Catalog /Pages 2 0 R /Title (/JS /S /Launch) >>",
            "(/S /JavaScript)",
            vec![],
        ),
    ] {
        assert_eq!(of_pdf(&[catalog, PAGES, third]), Ok(expected), "{catalog} {third}");
    }
}

#[test]
fn a_script_packed_into_a_stream_of_objects_is_found() {
    let action = "<< /S /JavaScript /JS (app.alert) >>";
    let content = format!("3 0 {action}");
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(content.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let mut bytes = b"%PDF-1.7\n".to_vec();
    let mut places = [0; 5];
    let mut object = |bytes: &mut Vec<u8>, number: usize, content: &[u8]| {
        places[number] = bytes.len();
        bytes.extend(format!("{number} 0 obj\n").bytes());
        bytes.extend(content);
        bytes.extend(b"\nendobj\n");
    };
    object(&mut bytes, 1, b"<< /Type /Catalog /Pages 2 0 R /OpenAction 3 0 R >>");
    object(&mut bytes, 2, PAGES.as_bytes());
    let head = format!(
        "<< /Type /ObjStm /N 1 /First 4 /Filter /FlateDecode /Length {} >>\nstream\n",
        packed.len()
    );
    object(&mut bytes, 4, &[head.as_bytes(), &packed, b"\nendstream"].concat());
    // A table of references as a stream: kind, place, index.
    let table = bytes.len();
    let row =
        |kind: u8, at: usize, index: u8| [&[kind][..], &u32::try_from(at).unwrap().to_be_bytes(), &[index]].concat();
    let rows = [
        row(0, 0, 0),
        row(1, places[1], 0),
        row(1, places[2], 0),
        row(2, 4, 0),
        row(1, places[4], 0),
        row(1, table, 0),
    ]
    .concat();
    bytes.extend(
        format!(
            "5 0 obj\n<< /Type /XRef /Size 6 /W [1 4 1] /Root 1 0 R /Length {} >>\nstream\n",
            rows.len()
        )
        .bytes(),
    );
    bytes.extend(rows);
    bytes.extend(format!("\nendstream\nendobj\nstartxref\n{table}\n%%EOF\n").bytes());
    assert_eq!(findings(FileType::Pdf, &bytes), Ok(vec![Finding::PdfJavascript]));
}

#[test]
fn an_object_that_is_left_out_by_its_reader_is_not_taken_for_harmless() {
    let catalog = "<< /Type /Catalog /Pages 2 0 R /OpenAction 3 0 R >>";
    let nested = |depth: usize| {
        let brackets = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        format!("<< /X {brackets} /S /JavaScript /JS (x) >>")
    };
    assert_eq!(of_pdf(&[catalog, PAGES, &nested(10)]), Ok(vec![Finding::PdfJavascript]));
    assert_eq!(of_pdf(&[catalog, PAGES, &nested(1_000)]), Err(FileReason::Unreadable));
    // An object that is named and is nowhere is no object.
    let missing = pdf(&[catalog, PAGES, "null"], "");
    let text = String::from_utf8(missing).unwrap().replace("3 0 obj", "% 0 obj");
    assert_eq!(findings(FileType::Pdf, text.as_bytes()), Ok(vec![]));
}

#[test]
fn a_pdf_with_a_password_is_told_from_one_that_is_broken() {
    let objects = ["<< /Type /Catalog /Pages 2 0 R >>", PAGES];
    let encryption = "<< /Filter /Standard /V 2 /R 3 /Length 128 /P -44 /O (0123456789abcdef0123456789abcdef) /U (0123456789abcdef0123456789abcdef) >>";
    let with_object = pdf(&[objects[0], objects[1], encryption], "/Encrypt 3 0 R /ID [(a) (a)]");
    assert_eq!(findings(FileType::Pdf, &with_object), Err(FileReason::Encrypted));
    let inline = pdf(&objects, &format!("/Encrypt {encryption} /ID [(a) (a)]"));
    assert_eq!(findings(FileType::Pdf, &inline), Err(FileReason::Encrypted));
    let whole = pdf(&objects, "");
    assert_eq!(findings(FileType::Pdf, &whole), Ok(vec![]));
    assert_eq!(
        findings(FileType::Pdf, &whole[..whole.len() - 60]),
        Err(FileReason::Unreadable)
    );
    assert_eq!(findings(FileType::Pdf, b"%PDF-1.7\n%%EOF"), Err(FileReason::Unreadable));
}

fn docx(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in [("word/document.xml", &b"<w:document/>"[..])].iter().chain(entries) {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn of_docx(entries: &[(&str, &[u8])]) -> Result<Vec<Finding>, FileReason> {
    findings(FileType::Docx, &docx(entries))
}

fn relationship(kind: &str, mode: &str) -> Vec<u8> {
    let kind = format!("http://schemas.openxmlformats.org/officeDocument/2006/relationships/{kind}");
    format!(r#"<?xml version="1.0"?><Relationships><Relationship Id="r1" Type="{kind}" Target="http://x/t.dotm" {mode}/></Relationships>"#)
        .into_bytes()
}

#[test]
fn a_template_that_lies_elsewhere_is_found() {
    let of = |name: &str, kind: &str, mode: &str| of_docx(&[(name, &relationship(kind, mode))]);
    let settings = "word/_rels/settings.xml.rels";
    let external = r#"TargetMode="External""#;
    let found = Ok(vec![Finding::ExternalTemplate]);
    assert_eq!(of(settings, "attachedTemplate", external), found);
    assert_eq!(
        of(
            "Word/_RELS/settings2.xml.RELS",
            "attachedTemplate",
            r#"TargetMode="&#69;xternal""#
        ),
        found
    );
    for (name, kind, mode) in [
        (settings, "attachedTemplate", ""),
        (settings, "attachedTemplate", r#"TargetMode="Internal""#),
        (settings, "hyperlink", external),
        ("word/settings.xml", "attachedTemplate", external),
    ] {
        assert_eq!(of(name, kind, mode), Ok(vec![]), "{name} {kind} {mode}");
    }
    for broken in [
        &b"<!DOCTYPE a [<!ENTITY b 'c'>]><a/>"[..],
        b"\xff\xfe<\0",
        b"<a><b></a>",
    ] {
        assert_eq!(of_docx(&[(settings, broken)]), Err(FileReason::Unreadable));
    }
}

fn compound(streams: &[&str], word_flags: u16) -> Vec<u8> {
    let mut file = cfb::CompoundFile::create(Cursor::new(Vec::new())).unwrap();
    for stream in streams {
        let folders: Vec<_> = stream.match_indices('/').skip(1).map(|(at, _)| &stream[..at]).collect();
        for folder in folders {
            file.create_storage_all(folder).unwrap();
        }
        let mut head = vec![0; 32];
        head[10..12].copy_from_slice(&word_flags.to_le_bytes());
        file.create_stream(stream).unwrap().write_all(&head).unwrap();
    }
    file.flush().unwrap();
    file.into_inner().into_inner()
}

#[test]
fn macros_are_found_in_old_documents() {
    let of = |streams: &[&str]| findings(FileType::Doc, &compound(streams, 0));
    assert_eq!(of(&["/WordDocument", "/1Table"]), Ok(vec![]));
    for macros in [
        "/Macros/VBA/_VBA_PROJECT",
        "/ObjectPool/_123/Macros/vba/dir",
        "/_vba_project",
    ] {
        assert_eq!(of(&["/WordDocument", macros]), Ok(vec![Finding::Macros]), "{macros}");
    }
    assert_eq!(of(&["/1Table"]), Err(FileReason::Unreadable));
    assert_eq!(
        findings(FileType::Doc, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        Err(FileReason::Unreadable)
    );
}

#[test]
fn an_old_document_with_a_password_is_told() {
    let of = |streams: &[&str], flags| findings(FileType::Doc, &compound(streams, flags));
    assert_eq!(of(&["/WordDocument"], 0x0100), Err(FileReason::Encrypted));
    assert_eq!(of(&["/WordDocument"], 0xfeff), Ok(vec![]));
    assert_eq!(
        of(&["/EncryptedPackage", "/EncryptionInfo"], 0),
        Err(FileReason::Encrypted)
    );
}

#[test]
fn macros_are_found_in_documents_within_a_document() {
    let old = compound(&["/Workbook", "/_VBA_PROJECT_CUR/VBA/dir"], 0);
    let new = docx(&[("word/vbaProject.bin", b"x")]);
    for (name, content) in [
        ("word/embeddings/oleObject1.bin", old.as_slice()),
        ("word/embeddings/a.docm", &new),
    ] {
        assert_eq!(of_docx(&[(name, content)]), Ok(vec![Finding::Macros]), "{name}");
    }
    let harmless = compound(&["/Workbook"], 0);
    assert_eq!(of_docx(&[("word/embeddings/oleObject1.bin", &harmless)]), Ok(vec![]));
    assert_eq!(of_docx(&[("word/embeddings/a.docx", &docx(&[]))]), Ok(vec![]));
    assert_eq!(
        of_docx(&[("word/embeddings/oleObject1.bin", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")]),
        Ok(vec![])
    );
}

proptest! {
    #[test]
    fn a_changed_document_is_looked_at_without_a_panic(at: prop::sample::Index, byte: u8, length: prop::sample::Index) {
        let rels = relationship("attachedTemplate", r#"TargetMode="External""#);
        for (file_type, bytes) in [
            (FileType::Docx, docx(&[("word/_rels/settings.xml.rels", &rels)])),
            (FileType::Doc, compound(&["/WordDocument", "/Macros/VBA/dir"], 0)),
        ] {
            let mut changed = bytes.clone();
            changed[at.index(bytes.len())] = byte;
            let _ = findings(file_type, &changed);
            let _ = findings(file_type, &bytes[..length.index(bytes.len())]);
        }
    }
}
