//! Files that programs wrote: `tests/fixtures/files/README.md` names them.

use super::*;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/fixtures/files/",
            $name
        ))
        .as_slice()
    };
}

#[test]
fn files_of_programs_are_known_whole_and_damaged_when_cut() {
    for (file_type, bytes) in [
        (FileType::Jpeg, fixture!("baseline.jpg")),
        (FileType::Jpeg, fixture!("progressive.jpg")),
        (FileType::Jpeg, fixture!("restart.jpg")),
        (FileType::Png, fixture!("alpha.png")),
        (FileType::Png, fixture!("moving.png")),
        (FileType::Gif, fixture!("still.gif")),
        (FileType::Gif, fixture!("moving.gif")),
        (FileType::Webp, fixture!("lossy.webp")),
        (FileType::Webp, fixture!("lossless.webp")),
        (FileType::Webp, fixture!("moving.webp")),
        (FileType::Docx, fixture!("node.docx")),
    ] {
        assert_eq!(of(bytes), Ok(file_type));
        for end in (0..bytes.len()).step_by(1 + bytes.len() / 1000) {
            assert_eq!(
                of(&bytes[..end]),
                DAMAGED,
                "{file_type:?} until {end} of {}",
                bytes.len()
            );
        }
    }
}

#[test]
fn a_pdf_is_whole_with_its_end_mark() {
    let pdf = fixture!("scan.pdf");
    let mark = pdf.windows(5).rposition(|bytes| bytes == b"%%EOF").unwrap() + 5;
    for end in 0..=pdf.len() {
        let expected = if end < mark { DAMAGED } else { Ok(FileType::Pdf) };
        assert_eq!(of(&pdf[..end]), expected, "until {end}");
    }
}

#[test]
fn a_picture_behind_the_first_is_not_needed() {
    let both = fixture!("two_pictures.jpg");
    let second = both.windows(4).rposition(|bytes| bytes == b"\xff\xd8\xff\xe0").unwrap();
    assert_eq!(
        (of(both), of(&both[..second])),
        (Ok(FileType::Jpeg), Ok(FileType::Jpeg))
    );
    assert_eq!(of(&both[..second - 1]), DAMAGED);
}

#[test]
fn a_picture_of_another_type_is_told_what_to_be_saved_as() {
    assert_eq!(of(fixture!("picture.avif")), unsupported(hint::PICTURE));
}
