//! What is missing in pictures that have their end.

use super::samples::{chunk, of_type, segment};
use super::*;

#[test]
fn a_png_has_its_header_first_and_data_before_its_end() {
    let header = chunk(b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]);
    let [text, data, end] = [chunk(b"tEXt", b"a\0b"), chunk(b"IDAT", &[0; 9]), chunk(b"IEND", &[])];
    let png = |chunks: &[&[u8]]| of(&[b"\x89PNG\r\n\x1a\n", &chunks.concat()[..]].concat());
    assert_eq!(png(&[&header, &text, &data, &data, &end, &data]), Ok(FileType::Png));
    for chunks in [
        &[&header[..], &end][..],
        &[&text, &header, &data, &end],
        &[&header, &header, &data, &end],
        &[&chunk(b"IHDR", &[0; 12]), &data, &end],
        &[&header, &data, &chunk(b"IEND", &[0])],
        &[&header, &data, b"\xff\xff\xff\xffIDAT", &end],
        &[&header, &data, b"\x7f\xff\xff\xffIDAT", &end],
        &[&end],
        &[],
    ] {
        assert_eq!(png(chunks), DAMAGED, "{}", chunks.concat().escape_ascii());
    }
}

#[test]
fn a_jpeg_ends_behind_a_scan() {
    let scan = [&segment(0xda, &[1, 1, 0, 0, 63, 0])[..], b"\x01\xff\x00\x02"].concat();
    let jpeg = |parts: &[&[u8]]| of(&[b"\xff\xd8", &parts.concat()[..]].concat());
    assert_eq!(
        jpeg(&[&segment(0xe0, b""), &scan, b"\xff\xff\xff\xd9"]),
        Ok(FileType::Jpeg)
    );
    assert_eq!(
        jpeg(&[&segment(0xe0, b""), b"stray", &scan, b"\xff\xd9"]),
        Ok(FileType::Jpeg)
    );
    for parts in [
        &[&segment(0xe0, b"")[..], b"\xff\xd9"][..],
        &[&segment(0xe1, &scan), b"\xff\xd9"],
        &[&scan, b"\xff\xd8", &scan, b"\xff\xd9"],
        &[b"\xff\xe0\0\x01", &scan, b"\xff\xd9"],
        &[b"\xff\xe0\xff\xff", &scan, b"\xff\xd9"],
        &[&scan, b"\xff\xff\xff"],
    ] {
        assert_eq!(jpeg(parts), DAMAGED, "{}", parts.concat().escape_ascii());
    }
}

#[test]
fn a_gif_has_an_image_before_its_trailer() {
    let gif = of_type(FileType::Gif);
    let (begin, image) = gif.split_at(27);
    assert_eq!(of(&[begin, b"\0\0", image].concat()), Ok(FileType::Gif));
    assert_eq!(of(&[&b"GIF87a"[..], &gif[6..]].concat()), Ok(FileType::Gif));
    assert_eq!(of(&[begin, b";"].concat()), DAMAGED);
    assert_eq!(of(&[begin, b"?", image].concat()), DAMAGED);
    // Without colors of its own, the image begins where they were.
    let mut without_colors = [&gif[..13], &gif[19..]].concat();
    without_colors[10] = 0;
    assert_eq!(of(&without_colors), Ok(FileType::Gif));
}

#[test]
fn a_webp_is_as_long_as_it_says_and_holds_a_picture() {
    let webp = |chunks: &[&[u8]], missing: u32| {
        let chunks = chunks.concat();
        let length = u32::try_from(chunks.len()).unwrap() + 4 + missing;
        of(&[b"RIFF", &length.to_le_bytes()[..], b"WEBP", &chunks].concat())
    };
    assert_eq!(
        webp(&[b"VP8X\x04\0\0\0abcd", b"ANMF\x02\0\0\0ab"], 0),
        Ok(FileType::Webp)
    );
    assert_eq!(webp(&[b"VP8 \x01\0\0\0a\0", b"EXIF\x01\0\0\0a"], 0), Ok(FileType::Webp));
    for (chunks, missing) in [
        (&[&b"VP8X\x04\0\0\0abcd"[..]][..], 0),
        (&[], 0),
        (&[b"VP8 \x02\0\0\0ab"], 1),
        (&[b"VP8 \x03\0\0\0ab"], 0),
        (&[b"VP8 \xff\xff\xff\xffab"], 0),
    ] {
        assert_eq!(webp(chunks, missing), DAMAGED, "{chunks:?}");
    }
    // Shorter than its own name.
    assert_eq!(of(b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0"), DAMAGED);
    assert_eq!(of(b"RIFF\xff\xff\xff\xffWEBPVP8 \0\0\0\0"), DAMAGED);
}

#[test]
fn a_large_photo_is_read_once() {
    let noise: Vec<u8> = (0..10_000_000_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0] & 0x7f)
        .collect();
    let scan = segment(0xda, &[1, 1, 0, 0, 63, 0]);
    let jpeg = [&b"\xff\xd8"[..], &scan, &noise, b"\xff\xd9", &noise].concat();
    assert_eq!(of(&jpeg), Ok(FileType::Jpeg));
    // As many chunks as a PNG of this size can have.
    let empty = chunk(b"IDAT", &[]).repeat(800_000);
    let header = chunk(b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]);
    let png = [&b"\x89PNG\r\n\x1a\n"[..], &header, &empty, &chunk(b"IEND", &[])].concat();
    assert_eq!(of(&png), Ok(FileType::Png));
}
