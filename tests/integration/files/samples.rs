//! A small file of each type, and what a client may say of it.

/// A small file of a type: its name, its media type, its bytes.
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) media_type: &'static str,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) const PNG: &[u8] = include_bytes!("../../fixtures/files/alpha.png");
pub(crate) const JPEG: &[u8] = include_bytes!("../../fixtures/files/baseline.jpg");
pub(crate) const PDF: &[u8] = include_bytes!("../../fixtures/files/scan.pdf");
const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

/// One file of each type that is taken.
pub(crate) fn all() -> Vec<Sample> {
    let sample = |name, media_type, bytes: &[u8]| Sample {
        name,
        media_type,
        bytes: bytes.to_vec(),
    };
    vec![
        sample("photo.jpg", "image/jpeg", JPEG),
        sample("picture.png", "image/png", PNG),
        sample(
            "moving.gif",
            "image/gif",
            include_bytes!("../../fixtures/files/moving.gif"),
        ),
        sample(
            "photo.webp",
            "image/webp",
            include_bytes!("../../fixtures/files/lossy.webp"),
        ),
        sample("scan.pdf", "application/pdf", PDF),
        sample("letter.docx", DOCX, include_bytes!("../../fixtures/files/node.docx")),
        sample("letter.doc", "application/msword", &doc()),
    ]
}

/// A picture of about this size: what follows its end is allowed.
pub(crate) fn png_of(size: usize) -> Vec<u8> {
    let mut bytes = PNG.to_vec();
    bytes.resize(size.max(PNG.len()), b'x');
    bytes
}

/// A picture that is another one for each number.
pub(crate) fn png_number(number: u32) -> Vec<u8> {
    [PNG, &number.to_be_bytes()].concat()
}

/// The smallest compound file with a `WordDocument`: a header, one sector that says which follows which, the directory, and the stream.
fn doc() -> Vec<u8> {
    const FREE: u32 = 0xffff_ffff;
    const END: u32 = 0xffff_fffe;
    const TABLE: u32 = 0xffff_fffd;
    let mut file = vec![0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];
    file.resize(24, 0);
    for number in [0x3e_u16, 3, 0xfffe, 9, 6] {
        file.extend(number.to_le_bytes());
    }
    file.resize(40, 0);
    for number in [0, 1, 1, 0, 4096, END, 0, END, 0, 0] {
        file.extend(u32::to_le_bytes(number));
    }
    file.resize(512, 0xff);
    for number in [TABLE, END].into_iter().chain(3..10).chain([END]) {
        file.extend(number.to_le_bytes());
    }
    file.resize(1024, 0xff);
    for (name, kind, child, start, size) in [("Root Entry", 5_u8, 1, END, 0_u32), ("WordDocument", 2, FREE, 2, 4096)] {
        let mut entry: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let length = u16::try_from(entry.len() + 2).unwrap();
        entry.resize(64, 0);
        entry.extend(length.to_le_bytes());
        entry.extend([kind, 1]);
        for number in [FREE, FREE, child] {
            entry.extend(number.to_le_bytes());
        }
        entry.resize(116, 0);
        entry.extend(start.to_le_bytes());
        entry.extend(size.to_le_bytes());
        entry.resize(128, 0);
        file.extend(entry);
    }
    for _ in 0..2 {
        let mut unused = vec![0; 128];
        unused[68..80].fill(0xff);
        file.extend(unused);
    }
    file.extend([0xec, 0xa5]);
    file.resize(1536 + 4096, 0);
    file
}
