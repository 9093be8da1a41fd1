//! Scaling down; never up.

use image::DynamicImage;
use image::imageops::FilterType;

/// The picture with no side longer than `longest`.
pub(super) fn to_fit(picture: DynamicImage, longest: u32) -> DynamicImage {
    let (width, height) = (picture.width(), picture.height());
    let side = width.max(height);
    if side <= longest {
        return picture;
    }
    let scaled = |length| scaled(length, longest, side);
    shrink(&picture, scaled(width), scaled(height))
}

/// The square in the middle of the picture, `side` pixels wide or as wide as the picture is.
pub(super) fn to_square(picture: DynamicImage, side: u32) -> DynamicImage {
    let shortest = picture.width().min(picture.height());
    let picture = if shortest > side {
        let scaled = |length| scaled(length, side, shortest);
        shrink(&picture, scaled(picture.width()), scaled(picture.height()))
    } else {
        picture
    };
    let (width, height) = (picture.width(), picture.height());
    let side = width.min(height);
    picture.crop_imm((width - side) / 2, (height - side) / 2, side, side)
}

/// `length · to / from`, rounded, at least 1. Pictures have sides of at most 12,000 pixels.
fn scaled(length: u32, to: u32, from: u32) -> u32 {
    let scaled = (u64::from(length) * u64::from(to) + u64::from(from) / 2) / u64::from(from);
    u32::try_from(scaled).unwrap_or(to).max(1)
}

/// Scales down. The fast way gives each pixel to one pixel, which makes stairs of thin lines if there are less than two to one.
fn shrink(picture: &DynamicImage, width: u32, height: u32) -> DynamicImage {
    if picture.width() / width >= 2 && picture.height() / height >= 2 {
        picture.thumbnail_exact(width, height)
    } else {
        picture.resize_exact(width, height, FilterType::Triangle)
    }
}
