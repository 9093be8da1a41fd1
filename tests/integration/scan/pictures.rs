//! What is made of pictures, by the real program.

use std::io::Cursor;

use cura_domain::file::FileReason;
use cura_domain::file_type::FileType;
use cura_inspection::{Encoding, Inspected, Wanted};
use cura_providers::scan::Inspection;
pub(crate) use cura_tests::photo::PLACE;
use cura_tests::photo::on_its_side;
use image::{DynamicImage, GenericImageView, ImageFormat, Rgb, RgbImage};

use super::{file_of, fixture, inspector, scan};

/// A photo taken with the camera on its side: red is left, and is to be above. It says where it was taken.
pub(crate) fn photo(width: u32, height: u32) -> Vec<u8> {
    let colour = |x| {
        if x < width / 2 {
            Rgb([220, 20, 20])
        } else {
            Rgb([20, 20, 220])
        }
    };
    let pixels = DynamicImage::from(RgbImage::from_fn(width, height, |x, _| colour(x)));
    let mut jpeg = Cursor::new(Vec::new());
    pixels.write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
    on_its_side(&jpeg.into_inner())
}

async fn inspected(wanted: Wanted, file_type: FileType, bytes: &[u8]) -> Inspected {
    let (file, size) = file_of(bytes);
    match inspector().inspect(file_type, wanted, file, size).await.unwrap() {
        Inspection::Inspected(inspected) => *inspected,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_photo_on_its_side_comes_upright_and_without_its_place() {
    let photo = photo(2_000, 1_500);
    assert!(photo.windows(PLACE.len()).any(|part| part == PLACE));
    for (wanted, large_size, small_size) in [
        (Wanted::Scan, (1_176, 1_568), (240, 320)),
        (Wanted::Avatar, (512, 512), (128, 128)),
    ] {
        let inspected = inspected(wanted, FileType::Jpeg, &photo).await;
        let (large, small) = (inspected.large.unwrap(), inspected.small.unwrap());
        for (picture, size) in [(&large, large_size), (&small, small_size)] {
            assert_eq!((picture.width, picture.height), size);
            assert_eq!(picture.encoding, Encoding::Jpeg);
            let pixels = image::load_from_memory(&picture.bytes).unwrap();
            let [red, _, blue, _] = pixels.get_pixel(size.0 / 2, 3).0;
            assert!(red > blue);
            let [red, _, blue, _] = pixels.get_pixel(size.0 / 2, size.1 - 3).0;
            assert!(blue > red);
            for trace in [PLACE, b"Exif"] {
                assert!(!picture.bytes.windows(trace.len()).any(|part| part == trace));
            }
        }
    }
}

#[tokio::test]
async fn every_type_of_picture_is_made_anew() {
    for (file_type, name) in [
        (FileType::Jpeg, "baseline.jpg"),
        (FileType::Jpeg, "progressive.jpg"),
        (FileType::Jpeg, "restart.jpg"),
        (FileType::Jpeg, "two_pictures.jpg"),
        (FileType::Png, "alpha.png"),
        (FileType::Png, "moving.png"),
        (FileType::Gif, "moving.gif"),
        (FileType::Gif, "still.gif"),
        (FileType::Webp, "lossless.webp"),
        (FileType::Webp, "lossy.webp"),
        (FileType::Webp, "moving.webp"),
    ] {
        let inspected = inspected(Wanted::Scan, file_type, &fixture(name)).await;
        assert!(inspected.large.is_some() && inspected.small.is_some(), "{name}");
        assert!(
            inspected.findings.is_empty() && inspected.text.pages.is_empty(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn documents_are_inspected_and_make_no_avatar() {
    for (file_type, name) in [(FileType::Pdf, "scan.pdf"), (FileType::Docx, "node.docx")] {
        let bytes = fixture(name);
        let scanned = inspected(Wanted::Scan, file_type, &bytes).await;
        assert!(scanned.large.is_none() && scanned.findings.is_empty(), "{name}");
        let (file, size) = file_of(&bytes);
        let avatar = inspector()
            .inspect(file_type, Wanted::Avatar, file, size)
            .await
            .unwrap();
        assert_eq!(avatar, Inspection::Refused(FileReason::Unreadable));
    }
}

#[tokio::test]
async fn a_file_of_another_type_than_stated_is_refused() {
    let outcome = scan(&inspector(), FileType::Pdf, &fixture("alpha.png")).await.unwrap();
    assert_eq!(outcome, Inspection::Refused(FileReason::Unreadable));
}
