//! The smallest files that are what they say they are.

use std::io::{Cursor, Read, Write};

use cura_domain::file_type::FileType;
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

pub(super) const DOCUMENT: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml";

/// One of each type.
pub(super) fn all() -> Vec<(FileType, Vec<u8>)> {
    FileType::ALL.map(|file_type| (file_type, of_type(file_type))).to_vec()
}

pub(super) fn of_type(file_type: FileType) -> Vec<u8> {
    match file_type {
        FileType::Jpeg => jpeg(),
        FileType::Png => png(),
        FileType::Gif => {
            b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x01D\0;"
                .to_vec()
        }
        FileType::Webp => b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0/\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07\0".to_vec(),
        FileType::Pdf => pdf(),
        FileType::Doc => doc(cfb::Version::V3),
        FileType::Docx => docx(CompressionMethod::Deflated),
    }
}

/// One grey pixel.
fn png() -> Vec<u8> {
    let mut data = ZlibEncoder::new(Vec::new(), Compression::default());
    data.write_all(&[0, 0]).unwrap();
    let data = data.finish().unwrap();
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    png.extend(chunk(b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]));
    png.extend(chunk(b"IDAT", &data));
    png.extend(chunk(b"IEND", &[]));
    png
}

/// A chunk of a PNG.
pub(super) fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut checksum = Crc::new();
    checksum.update(kind);
    checksum.update(data);
    let length = u32::try_from(data.len()).unwrap();
    [&length.to_be_bytes()[..], kind, data, &checksum.sum().to_be_bytes()].concat()
}

/// The segments of a photo: a preview in EXIF that ends as the photo does, two scans, stuffed bytes and restart markers. Its tables
/// are empty: nothing here decodes it.
fn jpeg() -> Vec<u8> {
    let preview = b"Exif\0\0\xff\xd8\xff\xda\0\x02\x11\xff\xd9";
    [
        &b"\xff\xd8"[..],
        &segment(0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
        &segment(0xe1, preview),
        &segment(0xc2, &[8, 0, 1, 0, 1, 1, 1, 0x11, 0]),
        &segment(0xda, &[1, 1, 0, 0, 0, 0]),
        b"\x12\xff\x00\x34\xff\xd0\x56\xff\xff",
        &segment(0xc4, &[0; 17])[1..],
        &segment(0xda, &[1, 1, 0, 1, 63, 0]),
        b"\x78\xff\x00\xff\xd9",
    ]
    .concat()
}

/// A segment of a JPEG.
pub(super) fn segment(marker: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() + 2).unwrap();
    [&[0xff, marker][..], &length.to_be_bytes(), data].concat()
}

/// An empty page.
fn pdf() -> Vec<u8> {
    let mut pdf = b"%PDF-1.4\n".to_vec();
    let mut places = Vec::new();
    for object in [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>",
    ] {
        places.push(pdf.len());
        pdf.extend(format!("{} 0 obj{object}endobj\n", places.len()).into_bytes());
    }
    let table_at = pdf.len();
    pdf.extend(b"xref\n0 4\n0000000000 65535 f \n");
    for place in places {
        pdf.extend(format!("{place:010} 00000 n \n").into_bytes());
    }
    pdf.extend(format!("trailer<</Size 4/Root 1 0 R>>\nstartxref\n{table_at}\n%%EOF").into_bytes());
    pdf
}

/// The list of content types with these elements in it.
pub(super) fn content_types(elements: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n\
         <Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\">\
         <Default Extension=\"rels\" ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/>\
         {elements}</Types>"
    )
}

/// An element that gives a part its type.
pub(super) fn override_of(part: &str, content_type: &str) -> String {
    format!("<Override PartName=\"/{part}\" ContentType=\"{content_type}\"/>")
}

/// The parts of a document of one word.
pub(super) fn parts() -> Vec<(&'static str, String)> {
    let relations = "http://schemas.openxmlformats.org/package/2006/relationships";
    let office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument";
    let words = "http://schemas.openxmlformats.org/wordprocessingml/2006/main";
    vec![
        (
            "[Content_Types].xml",
            content_types(&override_of("word/document.xml", DOCUMENT)),
        ),
        (
            "_rels/.rels",
            format!(
                "<Relationships xmlns=\"{relations}\">\
                 <Relationship Id=\"r\" Type=\"{office}\" Target=\"word/document.xml\"/></Relationships>"
            ),
        ),
        (
            "word/document.xml",
            format!(
                "<w:document xmlns:w=\"{words}\"><w:body><w:p><w:r><w:t>Hi</w:t></w:r></w:p></w:body></w:document>"
            ),
        ),
    ]
}

fn docx(method: CompressionMethod) -> Vec<u8> {
    zip_of(&parts(), SimpleFileOptions::default().compression_method(method))
}

/// An archive of these entries, in this order.
pub(super) fn zip_of(parts: &[(&str, String)], options: SimpleFileOptions) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in parts {
        zip.start_file(*name, options).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// What the streams of a Word document are called, and how long they are here.
const STREAMS: [(&str, usize); 4] = [
    ("/1Table", 4096),
    ("/\u{5}SummaryInformation", 100),
    ("/ObjectPool/_1/Package", 5000),
    ("/WordDocument", 6000),
];

fn doc(version: cfb::Version) -> Vec<u8> {
    compound(version, &STREAMS)
}

/// A compound file of streams of these names and lengths.
pub(super) fn compound(version: cfb::Version, streams: &[(&str, usize)]) -> Vec<u8> {
    let mut file = cfb::CompoundFile::create_with_version(version, Cursor::new(Vec::new())).unwrap();
    for (path, length) in streams {
        let (folder, _) = path.rsplit_once('/').unwrap();
        if !folder.is_empty() {
            file.create_storage_all(folder).unwrap();
        }
        let content: Vec<u8> = (1..=255).cycle().take(*length).collect();
        file.create_stream(path).unwrap().write_all(&content).unwrap();
    }
    file.flush().unwrap();
    file.into_inner().into_inner()
}

/// Whether another reader finds the same in both documents.
pub(super) fn same_streams(one: &[u8], other: &[u8]) -> bool {
    let read = |bytes: &[u8]| -> std::io::Result<Vec<Vec<u8>>> {
        let mut file = cfb::CompoundFile::open(Cursor::new(bytes.to_vec()))?;
        let read = |(path, _): (&str, usize)| {
            let mut content = Vec::new();
            file.open_stream(path)?.read_to_end(&mut content)?;
            Ok(content)
        };
        STREAMS.into_iter().map(read).collect()
    };
    read(one).is_ok_and(|one| one == read(other).unwrap())
}
