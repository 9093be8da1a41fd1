use std::io::Write;

use super::*;

/// A PDF of these objects, numbered from 1; the first one is the catalog.
pub(super) fn pdf(objects: &[&str], trailer: &str) -> Vec<u8> {
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

pub(super) const PAGES: &str = "<< /Type /Pages /Kids [] /Count 0 >>";

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
    assert_eq!(
        of_pdf(&[catalog, PAGES, &nested(1_000)]),
        Ok(vec![Finding::PdfJavascript])
    );
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
