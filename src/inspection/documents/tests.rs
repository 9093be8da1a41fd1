use std::io::{Cursor, Write};

use proptest::prelude::*;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

mod pdf;
mod pdf_structure;

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
        b"\xff\xfe<\0a\0",
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

fn utf_16(xml: &[u8], mark: &[u8], of: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let units = str::from_utf8(xml).unwrap().encode_utf16().flat_map(of);
    mark.iter().copied().chain(units).collect()
}

#[test]
fn a_slide_with_a_chart_has_no_macros() {
    let package = |entries: &[(&str, &[u8])]| {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in entries {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    };
    let of = |sheet: &[u8]| {
        let slides = package(&[
            ("ppt/presentation.xml", b"<p:presentation/>"),
            ("ppt/embeddings/Microsoft_Excel_Sheet1.xlsx", sheet),
        ]);
        of_docx(&[("word/embeddings/Microsoft_PowerPoint_Presentation1.pptx", &slides)])
    };
    let sheet = package(&[("xl/workbook.xml", b"<workbook/>")]);
    assert_eq!(of(&sheet), Ok(vec![]));
    let found = Ok(vec![Finding::Macros]);
    let with_macros = package(&[("xl/workbook.xml", b"<workbook/>"), ("xl/vbaProject.bin", b"x")]);
    assert_eq!(of(&with_macros), found);
    assert_eq!(of(b"PK\x03\x04 and nothing else"), found);
}

type Change<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

#[test]
fn a_list_in_another_encoding_is_read_or_not_taken_for_harmless() {
    let settings = "word/_rels/settings.xml.rels";
    let of = |kind: &str, change: Change<'_>| {
        of_docx(&[(settings, &change(&relationship(kind, r#"TargetMode="External""#)))])
    };
    let declared = |encoding: &'static str| {
        move |xml: &[u8]| {
            let declaration = format!(r#"version="1.0" encoding="{encoding}""#);
            String::from_utf8_lossy(xml)
                .replace(r#"version="1.0""#, &declaration)
                .into_bytes()
        }
    };
    let changes: [Change<'_>; 8] = [
        &|xml| utf_16(xml, b"\xff\xfe", u16::to_le_bytes),
        &|xml| utf_16(xml, b"\xfe\xff", u16::to_be_bytes),
        &|xml| utf_16(xml, b"", u16::to_le_bytes),
        &|xml| utf_16(xml, b"", u16::to_be_bytes),
        &|xml| [b"\xef\xbb\xbf", xml].concat(),
        &declared("UTF-8"),
        &declared("ISO-8859-1"),
        &|xml| [xml, b"<!-- \xe4 -->"].concat(),
    ];
    for (number, change) in changes.iter().enumerate() {
        assert_eq!(
            of("attachedTemplate", change),
            Ok(vec![Finding::ExternalTemplate]),
            "{number}"
        );
        assert_eq!(of("hyperlink", change), Ok(vec![]), "{number}");
    }
    assert_eq!(of("hyperlink", &declared("utf-7")), Ok(vec![Finding::ExternalTemplate]));
}

#[test]
fn a_document_within_may_have_a_template_that_lies_elsewhere() {
    let external = relationship("attachedTemplate", r#"TargetMode="External""#);
    let inner = docx(&[("word/_rels/settings.xml.rels", &external)]);
    for name in ["word/embeddings/a.docx", "word/media/picture.png"] {
        assert_eq!(
            of_docx(&[(name, &inner)]),
            Ok(vec![Finding::ExternalTemplate]),
            "{name}"
        );
    }
    // What a document within that one has is not known.
    let outer = docx(&[("a.docx", &inner)]);
    assert_eq!(of_docx(&[("b.docx", &outer)]), Ok(vec![Finding::Macros]));
}

#[test]
fn macros_are_found_by_what_they_are_whatever_their_name() {
    let found = Ok(vec![Finding::Macros]);
    let kind = "http://schemas.microsoft.com/office/2006/relationships/vbaProject";
    let list = format!(r#"<Relationships><Relationship Id="r1" Type="{kind}" Target="data.bin"/></Relationships>"#);
    let rels = ("word/_rels/document.xml.rels", list.as_bytes());
    assert_eq!(of_docx(&[rels]), found);
    assert_eq!(of_docx(&[("word/embeddings/a.docx", &docx(&[rels]))]), found);
    let project = compound(&["/VBA/_VBA_PROJECT", "/VBA/dir"], 0);
    for name in ["word/data.bin", "word/media/image1.png", "customXml/item1.xml"] {
        assert_eq!(of_docx(&[(name, &project)]), found, "{name}");
        assert_eq!(
            of_docx(&[("word/embeddings/a.docx", &docx(&[(name, &project)]))]),
            found,
            "{name}"
        );
    }
    assert_eq!(of_docx(&[("word/data.bin", &compound(&["/Workbook"], 0))]), Ok(vec![]));
    // One that cannot be read here may be read by another program.
    let broken = [&b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"[..], &[0xff; 1_000]].concat();
    assert_eq!(of_docx(&[("word/data.bin", &broken)]), found);
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
