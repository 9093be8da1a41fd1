//! Photos as phones take them.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};

/// Where photos say that they were taken.
pub const PLACE: &[u8] = b"48 deg 8' 14.00\" N";

/// A photo of so many pixels that shows something everywhere, taken with the camera on its side. `grain`, from 0 on, is what makes it large.
pub fn taken(width: u32, height: u32, grain: u8) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state % (u32::from(grain) + 1)
    };
    let pixels = RgbImage::from_fn(width, height, |x, y| {
        // Waves of several lengths: soft edges as in a landscape.
        let wave = (x / 7 + y / 11) % 128 + (x / 61) % 64;
        let shade = |base: u32, noise: u32| u8::try_from(base + noise).unwrap_or(u8::MAX);
        Rgb([
            shade(wave, noise()),
            shade(wave / 2 + 40, noise()),
            shade(190 - wave / 2, noise()),
        ])
    });
    let mut jpeg = Cursor::new(Vec::new());
    JpegEncoder::new_with_quality(&mut jpeg, 85)
        .encode_image(&pixels)
        .expect("encoded");
    on_its_side(&jpeg.into_inner())
}

/// A photo that says in EXIF that the camera lay on its side, and where it was.
pub fn on_its_side(jpeg: &[u8]) -> Vec<u8> {
    // TIFF: orientation 6, and a table of the place with its latitude's text.
    let place = u32::try_from(PLACE.len()).expect("short").to_le_bytes();
    let tiff = [
        &b"II*\0\x08\0\0\0\x02\0"[..],
        b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0",
        b"\x25\x88\x04\0\x01\0\0\0\x26\0\0\0",
        b"\0\0\0\0",
        b"\x01\0\x1b\0\x02\0",
        &place,
        b"\x38\0\0\0\0\0\0\0",
        PLACE,
    ]
    .concat();
    let segment = [&b"Exif\0\0"[..], &tiff].concat();
    let length = u16::try_from(segment.len() + 2).expect("short").to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &segment, &jpeg[2..]].concat()
}
