use std::io::Cursor;

use cura_domain::file_type::FileType;
use image::{DynamicImage, GrayImage, ImageFormat, Rgba, RgbaImage};

use super::*;
use crate::answer::Picture;
use crate::pictures::{for_model_and_lists, for_profile};

fn is_accepted(picture: &Picture) -> bool {
    is_made_anew(picture.encoding, picture.width, picture.height, &picture.bytes)
}

fn png_of(picture: &DynamicImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Noise, half of it transparent if asked for.
fn noise(width: u32, height: u32, is_transparent: bool) -> Vec<u8> {
    let pixels = RgbaImage::from_fn(width, height, |x, y| {
        let mixed = (x.wrapping_mul(0x9e37_79b9) ^ y.wrapping_mul(0x85eb_ca6b)).wrapping_mul(0xc2b2_ae35);
        let [red, green, blue, _] = mixed.to_be_bytes();
        Rgba([red, green, blue, if is_transparent && x < width / 2 { 9 } else { 255 }])
    });
    png_of(&pixels.into())
}

fn made(is_transparent: bool) -> Picture {
    let made = for_model_and_lists(FileType::Png, &noise(70, 50, is_transparent)).unwrap();
    assert_eq!(made.large.encoding == Encoding::Png, is_transparent);
    made.large
}

fn with(picture: &Picture, at: usize, inserted: &[u8]) -> Picture {
    let bytes = [&picture.bytes[..at], inserted, &picture.bytes[at..]].concat();
    Picture {
        bytes,
        ..picture.clone()
    }
}

/// Where the pixels of a JPEG of ours begin.
fn coded_from() -> usize {
    2 + JPEG_SEGMENTS.iter().map(|(.., length)| length + 4).sum::<usize>()
}

#[test]
fn every_picture_that_we_make_is_accepted() {
    let gray = png_of(&GrayImage::from_fn(90, 40, |x, _| image::Luma([u8::try_from(x).unwrap()])).into());
    let mut sources = vec![gray];
    for (width, height) in [(1, 1), (30, 20), (1, 3_000), (3_000, 1), (1_700, 1_600), (513, 129)] {
        sources.push(noise(width, height, false));
        sources.push(noise(width, height, true));
    }
    for source in sources {
        let scanned = for_model_and_lists(FileType::Png, &source).unwrap();
        let avatar = for_profile(FileType::Png, &source).unwrap();
        for picture in [scanned.large, scanned.small, avatar.large, avatar.small] {
            assert!(
                is_accepted(&picture),
                "{:?} {} × {}",
                picture.encoding,
                picture.width,
                picture.height
            );
        }
    }
}

#[test]
fn a_picture_of_another_size_than_stated_is_refused() {
    for picture in [made(false), made(true)] {
        assert!(is_accepted(&picture));
        for (width, height) in [(71, 50), (70, 51), (50, 70), (70 + 65_536, 50)] {
            assert!(!is_made_anew(picture.encoding, width, height, &picture.bytes));
        }
        let other = if picture.encoding == Encoding::Png {
            Encoding::Jpeg
        } else {
            Encoding::Png
        };
        assert!(!is_made_anew(other, 70, 50, &picture.bytes));
    }
}

#[test]
fn a_picture_without_all_of_it_or_with_something_behind_it_is_refused() {
    for picture in [made(false), made(true)] {
        for length in 0..picture.bytes.len() {
            assert!(
                !is_made_anew(picture.encoding, 70, 50, &picture.bytes[..length]),
                "{length}"
            );
        }
        let archive = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        for behind in [&archive[..], b"\0", &picture.bytes, JPEG_END] {
            assert!(!is_accepted(&with(&picture, picture.bytes.len(), behind)));
        }
        // A picture within an archive, as some readers open it.
        assert!(!is_accepted(&with(&picture, 0, archive)));
    }
}

#[test]
fn a_jpeg_with_another_segment_is_refused() {
    let jpeg = made(false);
    let app1 = b"\xff\xe1\0\x0aExif\0\0II";
    let icc = b"\xff\xe2\0\x04ab";
    let comment = b"\xff\xfe\0\x04hi";
    let restart = b"\xff\xdd\0\x04\0\x01";
    let coded = coded_from();
    for segment in [&app1[..], icc, comment, restart, b"\xff\xff"] {
        for at in [2, 20, coded - 14, coded, jpeg.bytes.len() - 2] {
            assert!(!is_accepted(&with(&jpeg, at, segment)), "{at}");
        }
    }
    // A thumbnail in the first segment, and a scan after the first.
    let mut thumbnail = jpeg.clone();
    thumbnail.bytes[18..20].copy_from_slice(&[1, 1]);
    assert!(!is_accepted(&thumbnail));
    assert!(!is_accepted(&with(
        &jpeg,
        jpeg.bytes.len() - 2,
        &jpeg.bytes[coded - 14..coded]
    )));
    // An end before the end.
    assert!(!is_accepted(&with(&jpeg, coded, JPEG_END)));
}

#[test]
fn a_jpeg_by_another_encoder_is_refused() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/files");
    for name in ["baseline.jpg", "progressive.jpg", "restart.jpg"] {
        let bytes = std::fs::read(format!("{fixtures}/{name}")).unwrap();
        let pixels = image::load_from_memory(&bytes).unwrap();
        assert!(
            !is_made_anew(Encoding::Jpeg, pixels.width(), pixels.height(), &bytes),
            "{name}"
        );
    }
}

#[test]
fn a_png_with_another_chunk_is_refused() {
    let png = made(true);
    let chunk = |kind: &[u8; 4], content: &[u8]| {
        let mut checksum = flate2::Crc::new();
        checksum.update(&[kind, content].concat());
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&length, &kind[..], content, &checksum.sum().to_be_bytes()].concat()
    };
    let end = png.bytes.len() - 12;
    for added in [
        chunk(b"tEXt", b"Comment\0where it was"),
        chunk(b"eXIf", b"II*\0"),
        chunk(b"iCCP", b"x\0\0"),
        chunk(b"acTL", &[0; 8]),
        chunk(b"IEND", b""),
        chunk(b"IEND", b"x"),
        chunk(b"IHDR", &[0; 13]),
    ] {
        for at in [8, 33, end] {
            assert!(!is_accepted(&with(&png, at, &added)), "{at}");
        }
    }
    // Further pixels are pixels.
    assert!(is_accepted(&with(&png, end, &chunk(b"IDAT", b""))));
    let without_pixels = [&png.bytes[..33], &png.bytes[end..]].concat();
    assert!(!is_made_anew(Encoding::Png, 70, 50, &without_pixels));
    // Another depth, other channels, interlaced.
    for (at, byte) in [(24, 16), (25, 2), (28, 1)] {
        let mut other = png.clone();
        other.bytes[at] = byte;
        assert!(!is_accepted(&other), "{at}");
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_walked_without_a_panic(bytes: Vec<u8>, at: proptest::sample::Index, byte: u8) {
        for mut picture in [made(false), made(true)] {
            is_made_anew(picture.encoding, 1, 1, &bytes);
            let at = at.index(picture.bytes.len());
            picture.bytes[at] = byte;
            is_accepted(&picture);
        }
    }
}
