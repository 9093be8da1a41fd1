//! Files that are made to kill what reads them. Each ends its own child, or is refused, and the next file is inspected.

use std::io::{Cursor, Write};
use std::time::Instant;

use cura_domain::file::FileReason;
use cura_domain::file_type::FileType;
use cura_inspection::text::MAX_TEXT_BYTES;
use cura_providers::scan::{Inspection, TIME_LIMIT};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use image::codecs::gif::GifEncoder;
use image::{Frame, Rgba, RgbaImage};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::{assert_the_next_one_is_inspected, inspector, scan};

/// What comes of a bomb, after it was shown to have done no harm.
async fn outcome(file_type: FileType, bytes: &[u8]) -> Inspection {
    let inspector = inspector();
    let begun = Instant::now();
    let outcome = scan(&inspector, file_type, bytes).await.unwrap();
    // A busy machine starts and ends processes late.
    assert!(begun.elapsed() < TIME_LIMIT * 2);
    assert_the_next_one_is_inspected(&inspector).await;
    outcome
}

fn assert_refused_or_dead(outcome: &Inspection) {
    assert!(
        matches!(outcome, Inspection::Refused(_) | Inspection::Died(_)),
        "{outcome:?}"
    );
}

/// Nothing is made of it, or no more than is allowed.
fn assert_harmless(outcome: &Inspection) {
    match outcome {
        Inspection::Inspected(inspected) => {
            let length: usize = inspected.text.pages.iter().map(String::len).sum();
            assert!(
                length <= MAX_TEXT_BYTES && inspected.findings.is_empty(),
                "{inspected:?}"
            );
        }
        Inspection::Refused(_) | Inspection::Died(_) => {}
        Inspection::NoSandbox(_) => panic!("{outcome:?}"),
    }
}

/// A PDF of these objects, numbered from 1; the first one is the catalog.
fn pdf(objects: &[Vec<u8>]) -> Vec<u8> {
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
    packed.write_all(first).unwrap();
    let piece = b"BT /F1 9 Tf (a) Tj ET\n".repeat(100_000);
    for _ in 0..200 {
        packed.write_all(&piece).unwrap();
    }
    let packed = packed.finish().unwrap();
    let head = format!(
        "<< {dictionary} /Length {} /Filter /FlateDecode >>\nstream\n",
        packed.len()
    );
    [head.as_bytes(), &packed, b"\nendstream"].concat()
}

fn stream(content: &str) -> Vec<u8> {
    format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()).into_bytes()
}

/// An archive of one entry.
fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file(name, SimpleFileOptions::default()).unwrap();
    zip.write_all(content).unwrap();
    zip.finish().unwrap().into_inner()
}

#[tokio::test]
async fn a_pdf_of_440_megabytes_packed_into_two_does_no_harm() {
    let page = page("", "/Font << /F1 5 0 R >>", &packed_stream("", b""), &[]);
    assert_harmless(&outcome(FileType::Pdf, &page).await);
}

#[tokio::test]
async fn objects_of_440_megabytes_packed_into_two_do_no_harm() {
    let objects = packed_stream("/Type /ObjStm /N 1 /First 4", b"9 0 ");
    let pdf = page("", "", &stream("q Q"), &[objects]);
    assert_refused_or_dead(&outcome(FileType::Pdf, &pdf).await);
}

#[tokio::test]
async fn twelve_thousand_brackets_are_refused_or_end_the_child() {
    let brackets = format!("/X {}{}", "[".repeat(12_000), "]".repeat(12_000));
    assert_refused_or_dead(&outcome(FileType::Pdf, &page(&brackets, "", &stream("q Q"), &[])).await);
}

#[tokio::test]
async fn a_form_that_draws_itself_and_pages_in_a_circle_do_no_harm() {
    let form = "<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 6 0 R >> >> /Length 5 >>\nstream\n/X Do\nendstream";
    let drawing = page("", "/XObject << /X 6 0 R >>", &stream("/X Do"), &[form.into()]);
    assert_harmless(&outcome(FileType::Pdf, &drawing).await);
    let circle = pdf(&[
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        b"<< /Type /Pages /Kids [2 0 R] /Count 1 >>".to_vec(),
    ]);
    assert_harmless(&outcome(FileType::Pdf, &circle).await);
}

#[tokio::test]
async fn archives_that_become_too_large_are_refused() {
    let bomb = archive("word/document.xml", &vec![0; 200 * 1024 * 1024]);
    let nested = archive("word/embeddings/a.docx", &bomb);
    for bytes in [bomb, nested] {
        assert_eq!(
            outcome(FileType::Docx, &bytes).await,
            Inspection::Refused(FileReason::LimitsExceeded)
        );
    }
}

/// A PNG of one colour: its lines are zeros, packed.
fn png(width: u32, height: u32) -> Vec<u8> {
    let chunk = |kind: &[u8; 4], content: &[u8]| {
        let mut checksum = flate2::Crc::new();
        checksum.update(kind);
        checksum.update(content);
        let length = u32::try_from(content.len()).unwrap();
        [&length.to_be_bytes()[..], kind, content, &checksum.sum().to_be_bytes()].concat()
    };
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    // One bit a pixel, and a byte before each line.
    let line = vec![0; 1 + width.div_ceil(8) as usize];
    for _ in 0..height {
        packed.write_all(&line).unwrap();
    }
    let head = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[1, 0, 0, 0, 0]].concat();
    let chunks = [
        chunk(b"IHDR", &head),
        chunk(b"IDAT", &packed.finish().unwrap()),
        chunk(b"IEND", &[]),
    ]
    .concat();
    [&b"\x89PNG\r\n\x1a\n"[..], &chunks].concat()
}

#[tokio::test]
async fn a_picture_of_900_megapixels_is_refused() {
    let bytes = png(30_000, 30_000);
    assert_eq!(
        outcome(FileType::Png, &bytes).await,
        Inspection::Refused(FileReason::LimitsExceeded)
    );
    let allowed = outcome(FileType::Png, &png(10_000, 5_000)).await;
    assert!(matches!(allowed, Inspection::Inspected(_)), "{allowed:?}");
}

#[tokio::test]
async fn a_picture_of_3000_frames_is_refused() {
    let of = |frames: usize| {
        let mut bytes = Vec::new();
        let mut encoder = GifEncoder::new_with_speed(&mut bytes, 30);
        for _ in 0..frames {
            encoder
                .encode_frame(Frame::new(RgbaImage::from_pixel(8, 8, Rgba([9, 9, 9, 255]))))
                .unwrap();
        }
        drop(encoder);
        bytes
    };
    assert_eq!(
        outcome(FileType::Gif, &of(3_000)).await,
        Inspection::Refused(FileReason::LimitsExceeded)
    );
    let allowed = outcome(FileType::Gif, &of(1_000)).await;
    assert!(matches!(allowed, Inspection::Inspected(_)), "{allowed:?}");
}
