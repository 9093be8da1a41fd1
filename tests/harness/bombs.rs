//! Files that are made to kill what reads them. Small on the way, and large or endless when they are read.

use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use image::codecs::gif::GifEncoder;
use image::{Frame, Rgba, RgbaImage};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A PDF whose page shows 440 MB, packed into two.
pub fn packed_page() -> Vec<u8> {
    page("", "/Font << /F1 5 0 R >>", &packed_stream("", b""), &[])
}

/// A PDF with 440 MB of objects, packed into two.
pub fn packed_objects() -> Vec<u8> {
    let objects = packed_stream("/Type /ObjStm /N 1 /First 4", b"9 0 ");
    page("", "", &stream("q Q"), &[objects])
}

/// A PDF with so many arrays within each other.
pub fn brackets(count: usize) -> Vec<u8> {
    let brackets = format!("/X {}{}", "[".repeat(count), "]".repeat(count));
    page(&brackets, "", &stream("q Q"), &[])
}

/// A PDF with a form that draws itself.
pub fn form_that_draws_itself() -> Vec<u8> {
    let form = "<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 6 0 R >> >> /Length 5 >>\nstream\n/X Do\nendstream";
    page("", "/XObject << /X 6 0 R >>", &stream("/X Do"), &[form.into()])
}

/// A PDF whose pages are their own parents.
pub fn pages_in_a_circle() -> Vec<u8> {
    pdf(&[
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        b"<< /Type /Pages /Kids [2 0 R] /Count 1 >>".to_vec(),
    ])
}

/// A Word document with a text of 200 MiB.
pub fn packed_document() -> Vec<u8> {
    let types = "<?xml version=\"1.0\"?><Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\">\
        <Override PartName=\"/word/document.xml\" ContentType=\"application/vnd.openxmlformats-officedocument.\
        wordprocessingml.document.main+xml\"/></Types>";
    let text = vec![0; 200 * 1024 * 1024];
    archive(&[("[Content_Types].xml", types.as_bytes()), ("word/document.xml", &text)])
}

/// The same in another archive.
pub fn packed_document_within() -> Vec<u8> {
    archive(&[("word/embeddings/a.docx", &packed_document())])
}

/// A GIF of so many frames.
pub fn frames(count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut bytes, 30);
    for _ in 0..count {
        let frame = Frame::new(RgbaImage::from_pixel(8, 8, Rgba([9, 9, 9, 255])));
        encoder.encode_frame(frame).expect("encoded");
    }
    drop(encoder);
    bytes
}

/// A PNG of one colour: its lines are zeros, packed.
pub fn one_colour_png(width: u32, height: u32) -> Vec<u8> {
    let chunk = |kind: &[u8; 4], content: &[u8]| {
        let mut checksum = flate2::Crc::new();
        checksum.update(kind);
        checksum.update(content);
        let length = u32::try_from(content.len()).expect("short");
        [&length.to_be_bytes()[..], kind, content, &checksum.sum().to_be_bytes()].concat()
    };
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    // One bit a pixel, and a byte before each line.
    let line = vec![0; 1 + width.div_ceil(8) as usize];
    for _ in 0..height {
        packed.write_all(&line).expect("packed");
    }
    let head = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[1, 0, 0, 0, 0]].concat();
    let chunks = [
        chunk(b"IHDR", &head),
        chunk(b"IDAT", &packed.finish().expect("packed")),
        chunk(b"IEND", &[]),
    ]
    .concat();
    [&b"\x89PNG\r\n\x1a\n"[..], &chunks].concat()
}

/// A PDF of these objects, numbered from 1; the first one is the catalog.
pub fn pdf(objects: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = b"%PDF-1.7\n".to_vec();
    let mut places = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        places.push(bytes.len());
        bytes.extend(format!("{} 0 obj\n", number + 1).bytes());
        bytes.extend(object);
        bytes.extend(b"\nendobj\n");
    }
    let table = bytes.len();
    let size = objects.len() + 1;
    bytes.extend(format!("xref\n0 {size}\n0000000000 65535 f \n").bytes());
    for place in places {
        bytes.extend(format!("{place:010} 00000 n \n").bytes());
    }
    bytes.extend(format!("trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n").bytes());
    bytes
}

/// A PDF of one page that shows this stream, has these resources, and this in its catalog.
fn page(catalog: &str, resources: &str, stream: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
    let page =
        format!("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 100] /Contents 4 0 R /Resources << {resources} >> >>");
    let mut objects = vec![
        format!("<< /Type /Catalog /Pages 2 0 R {catalog} >>").into_bytes(),
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec(),
        page.into_bytes(),
        stream.to_vec(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_vec(),
    ];
    objects.extend_from_slice(others);
    pdf(&objects)
}

/// A stream of 440 MB, packed.
fn packed_stream(dictionary: &str, first: &[u8]) -> Vec<u8> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    packed.write_all(first).expect("packed");
    let piece = b"BT /F1 9 Tf (a) Tj ET\n".repeat(100_000);
    for _ in 0..200 {
        packed.write_all(&piece).expect("packed");
    }
    let packed = packed.finish().expect("packed");
    let head = format!(
        "<< {dictionary} /Length {} /Filter /FlateDecode >>\nstream\n",
        packed.len()
    );
    [head.as_bytes(), &packed, b"\nendstream"].concat()
}

fn stream(content: &str) -> Vec<u8> {
    format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()).into_bytes()
}

/// A packed archive with these entries.
fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        zip.start_file(*name, SimpleFileOptions::default()).expect("begun");
        zip.write_all(content).expect("written");
    }
    zip.finish().expect("finished").into_inner()
}
