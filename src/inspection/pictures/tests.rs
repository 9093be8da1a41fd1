use std::io::Cursor;

use image::codecs::gif::GifEncoder;
use image::{DynamicImage, Frame, GenericImageView, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};

use super::*;
use crate::answer::{Encoding, MAX_PICTURE_BYTES};

const GPS: &[u8] = b"48 deg 8' 14.00\" N";

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// The upper half red, the lower half blue.
fn red_above_blue(width: u32, height: u32) -> DynamicImage {
    RgbImage::from_fn(width, height, |_, y| {
        if y < height / 2 {
            Rgb([220, 20, 20])
        } else {
            Rgb([20, 20, 220])
        }
    })
    .into()
}

fn noise(x: u32, y: u32) -> u8 {
    let mixed = (x.wrapping_mul(0x9e37_79b9) ^ y.wrapping_mul(0x85eb_ca6b)).wrapping_mul(0xc2b2_ae35);
    mixed.to_be_bytes()[1]
}

/// EXIF with an orientation and a place: two entries, the second one text.
fn exif(orientation: u8) -> Vec<u8> {
    let mut tiff = b"II*\0\x08\0\0\0\x02\0".to_vec();
    tiff.extend([0x12, 1, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0]);
    tiff.extend([0x0e, 1, 2, 0]);
    tiff.extend(u32::try_from(GPS.len()).unwrap().to_le_bytes());
    tiff.extend([38, 0, 0, 0, 0, 0, 0, 0]);
    tiff.extend(GPS);
    tiff
}

/// The JPEG with EXIF.
fn with_exif(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let segment = [&b"Exif\0\0"[..], &exif(orientation)].concat();
    let length = u16::try_from(segment.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &segment, &jpeg[2..]].concat()
}

fn pixels(picture: &Picture) -> DynamicImage {
    let format = match picture.encoding {
        Encoding::Jpeg => ImageFormat::Jpeg,
        Encoding::Png => ImageFormat::Png,
    };
    let pixels = image::load_from_memory_with_format(&picture.bytes, format).unwrap();
    assert_eq!(pixels.dimensions(), (picture.width, picture.height));
    pixels
}

fn is_red(picture: &Picture, x: u32, y: u32) -> bool {
    let Rgba([red, _, blue, _]) = pixels(picture).get_pixel(x, y);
    red > blue
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_photo_is_turned_upright_and_tells_no_place() {
    let jpeg = encoded(&red_above_blue(400, 200), ImageFormat::Jpeg);
    // Orientation, then where red is afterwards.
    for (orientation, width, height, red, blue) in [
        (1, 400, 200, (200, 20), (200, 180)),
        (3, 400, 200, (200, 180), (200, 20)),
        (6, 200, 400, (180, 200), (20, 200)),
        (8, 200, 400, (20, 200), (180, 200)),
    ] {
        let photo = with_exif(&jpeg, orientation);
        assert!(holds(&photo, GPS));
        let made = for_model_and_lists(FileType::Jpeg, &photo).unwrap();
        assert_eq!((made.large.width, made.large.height), (width, height), "{orientation}");
        assert!(
            is_red(&made.large, red.0, red.1) && !is_red(&made.large, blue.0, blue.1),
            "{orientation}"
        );
        assert_eq!(made.small.width.max(made.small.height), THUMBNAIL_SIDE);
        let avatar = for_profile(FileType::Jpeg, &photo).unwrap();
        assert_eq!((avatar.large.width, avatar.small.width), (200, 128));
        for picture in [&made.large, &made.small, &avatar.large, &avatar.small] {
            assert!(!holds(&picture.bytes, GPS) && !holds(&picture.bytes, b"Exif"));
        }
    }
}

#[test]
fn metadata_of_other_pictures_does_not_survive_either() {
    let png = encoded(&red_above_blue(40, 40), ImageFormat::Png);
    let mut checksum = flate2::Crc::new();
    let content = [b"eXIf", &exif(3)[..]].concat();
    checksum.update(&content);
    let length = u32::try_from(content.len() - 4).unwrap().to_be_bytes();
    let png = [&png[..33], &length, &content, &checksum.sum().to_be_bytes(), &png[33..]].concat();
    assert!(holds(&png, GPS));
    let made = for_model_and_lists(FileType::Png, &png).unwrap();
    assert!(!holds(&made.large.bytes, GPS) && !holds(&made.small.bytes, GPS));
    assert!(!is_red(&made.large, 20, 2) && is_red(&made.large, 20, 37));
}

#[test]
fn large_pictures_become_smaller_and_small_ones_stay() {
    for (width, height, large, small) in [
        (3_200, 1_600, (1_568, 784), (320, 160)),
        (1_600, 2_000, (1_254, 1_568), (256, 320)),
        (1_568, 1_568, (1_568, 1_568), (320, 320)),
        (30, 20, (30, 20), (30, 20)),
        (1, 1, (1, 1), (1, 1)),
        (12_000, 1, (1_568, 1), (320, 1)),
        (1, 12_000, (1, 1_568), (1, 320)),
    ] {
        let png = encoded(&red_above_blue(width, height), ImageFormat::Png);
        let made = for_model_and_lists(FileType::Png, &png).unwrap();
        assert_eq!((made.large.width, made.large.height), large);
        assert_eq!((made.small.width, made.small.height), small);
    }
}

#[test]
fn an_avatar_is_the_square_in_the_middle() {
    // A red stripe in the middle of blue.
    let stripe = |x: u32| {
        if (450..750).contains(&x) {
            Rgb([220, 20, 20])
        } else {
            Rgb([20, 20, 220])
        }
    };
    let wide = DynamicImage::from(RgbImage::from_fn(1_200, 600, |x, _| stripe(x)));
    let made = for_profile(FileType::Png, &encoded(&wide, ImageFormat::Png)).unwrap();
    assert_eq!((made.large.width, made.large.height), (512, 512));
    assert_eq!((made.small.width, made.small.height), (128, 128));
    assert!(is_red(&made.large, 256, 256) && !is_red(&made.large, 5, 256) && !is_red(&made.large, 506, 256));
    let tiny = for_profile(FileType::Png, &encoded(&red_above_blue(100, 300), ImageFormat::Png)).unwrap();
    assert_eq!((tiny.large.width, tiny.small.width), (100, 100));
}

#[test]
fn only_what_is_really_transparent_stays_png() {
    let with_alpha = |alpha: u8| {
        DynamicImage::from(RgbaImage::from_fn(50, 50, |x, _| {
            Rgba([200, 0, 0, if x < 25 { alpha } else { 255 }])
        }))
    };
    let made = |picture: &DynamicImage| {
        for_model_and_lists(FileType::Png, &encoded(picture, ImageFormat::Png))
            .unwrap()
            .large
    };
    assert_eq!(made(&with_alpha(255)).encoding, Encoding::Jpeg);
    let transparent = made(&with_alpha(0));
    assert_eq!(transparent.encoding, Encoding::Png);
    assert_eq!(pixels(&transparent).get_pixel(0, 0)[3], 0);
    for other in [
        DynamicImage::from(RgbImage::from_pixel(9, 9, Rgb([1, 2, 3])))
            .to_luma8()
            .into(),
        DynamicImage::from(RgbImage::from_pixel(9, 9, Rgb([1, 2, 3])))
            .to_rgb16()
            .into(),
    ] {
        assert_eq!(made(&other).encoding, Encoding::Jpeg);
    }
}

#[test]
fn noise_becomes_no_picture_that_providers_refuse() {
    let transparent = RgbaImage::from_fn(1_568, 1_568, |x, y| {
        Rgba([noise(x, y), noise(y, x), noise(x + 7, y), 200])
    });
    let made = for_model_and_lists(FileType::Png, &encoded(&transparent.into(), ImageFormat::Png)).unwrap();
    assert_eq!(made.large.encoding, Encoding::Jpeg);
    assert!(made.large.bytes.len() <= MAX_PICTURE_BYTES);
    let opaque = RgbImage::from_fn(1_568, 1_568, |x, y| Rgb([noise(x, y), noise(y, x), noise(x + 7, y)]));
    let made = for_model_and_lists(FileType::Png, &encoded(&opaque.into(), ImageFormat::Png)).unwrap();
    assert!(made.large.bytes.len() <= MAX_PICTURE_BYTES);
}

/// A PNG that says it is this large and has next to no pixels.
fn png_of_size(width: u32, height: u32) -> Vec<u8> {
    let mut png = encoded(&red_above_blue(2, 2), ImageFormat::Png);
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let mut checksum = flate2::Crc::new();
    checksum.update(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.sum().to_be_bytes());
    png
}

#[test]
fn a_picture_is_measured_before_it_is_decoded() {
    let failure = |png: &[u8]| for_model_and_lists(FileType::Png, png).err();
    for (width, height) in [
        (30_000, 30_000),
        (12_001, 1),
        (1, 12_001),
        (10_000, 5_001),
        (u32::MAX >> 1, 1),
    ] {
        assert_eq!(
            failure(&png_of_size(width, height)),
            Some(FileReason::LimitsExceeded),
            "{width} × {height}"
        );
    }
    // Allowed, but there are no pixels.
    assert_eq!(failure(&png_of_size(10_000, 4_000)), Some(FileReason::Unreadable));
    assert_eq!(failure(&png_of_size(0, 4)), Some(FileReason::Unreadable));
}

fn gif_of(frames: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut bytes, 30);
    for number in 0..frames {
        let colour = if number == 0 {
            Rgba([220, 20, 20, 255])
        } else {
            Rgba([20, 20, 220, 255])
        };
        encoder
            .encode_frame(Frame::new(RgbaImage::from_pixel(2, 2, colour)))
            .unwrap();
    }
    drop(encoder);
    bytes
}

/// A PNG with this many frame headers.
fn apng_of(frames: usize) -> Vec<u8> {
    let png = encoded(&red_above_blue(2, 2), ImageFormat::Png);
    let mut bytes = png[..33].to_vec();
    for _ in 0..frames {
        let content = [&b"fcTL"[..], &[0; 26]].concat();
        let mut checksum = flate2::Crc::new();
        checksum.update(&content);
        bytes.extend([&26_u32.to_be_bytes()[..], &content, &checksum.sum().to_be_bytes()].concat());
    }
    [&bytes, &png[33..]].concat()
}

/// The outside of a WebP with this many frames.
fn webp_of(frames: usize) -> Vec<u8> {
    let mut bytes = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\0\0\0\0\0\0".to_vec();
    for _ in 0..frames {
        bytes.extend(b"ANMF\x03\0\0\0abc\0");
    }
    bytes
}

#[test]
fn frames_are_counted_and_a_thousand_are_allowed() {
    for frames in [1, 2, 999] {
        assert_eq!(frames::count(FileType::Gif, &gif_of(frames), 1_000), frames);
        assert_eq!(frames::count(FileType::Png, &apng_of(frames), 1_000), frames);
        assert_eq!(frames::count(FileType::Webp, &webp_of(frames), 1_000), frames);
    }
    for (file_type, bytes) in [
        (FileType::Gif, gif_of(3_000)),
        (FileType::Png, apng_of(3_000)),
        (FileType::Webp, webp_of(3_000)),
    ] {
        assert_eq!(frames::count(file_type, &bytes, 1_000), 1_001);
        assert_eq!(
            for_model_and_lists(file_type, &bytes).err(),
            Some(FileReason::LimitsExceeded),
            "{file_type:?}"
        );
    }
    assert!(for_model_and_lists(FileType::Gif, &gif_of(1_000)).is_ok());
}

#[test]
fn of_a_moving_picture_the_first_frame_is_taken() {
    let made = for_model_and_lists(FileType::Gif, &gif_of(2)).unwrap();
    assert!(is_red(&made.large, 1, 1));
    let fixture = |name: &str| {
        std::fs::read(format!(
            "{}/../../tests/fixtures/files/{name}",
            env!("CARGO_MANIFEST_DIR")
        ))
    };
    assert!(for_model_and_lists(FileType::Gif, &fixture("moving.gif").unwrap()).is_ok());
    assert!(for_model_and_lists(FileType::Webp, &fixture("lossy.webp").unwrap()).is_ok());
}

#[test]
fn a_picture_of_another_type_or_without_an_end_is_refused_or_made_without_a_panic() {
    let jpeg = with_exif(&encoded(&red_above_blue(60, 40), ImageFormat::Jpeg), 6);
    assert_eq!(
        for_model_and_lists(FileType::Png, &jpeg).err(),
        Some(FileReason::Unreadable)
    );
    assert_eq!(
        for_model_and_lists(FileType::Pdf, &jpeg).err(),
        Some(FileReason::Unreadable)
    );
    for (file_type, bytes) in [
        (FileType::Jpeg, jpeg),
        (FileType::Gif, gif_of(3)),
        (FileType::Png, apng_of(3)),
    ] {
        for length in 0..bytes.len() {
            let _ = for_model_and_lists(file_type, &bytes[..length]);
            frames::count(file_type, &bytes[..length], 1_000);
        }
    }
}
