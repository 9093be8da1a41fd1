//! Encoding: JPEG, or PNG where something is transparent.

use cura_domain::file::FileReason;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, ImageEncoder, ImageResult, RgbImage, Rgba, RgbaImage};

use crate::answer::{Encoding, MAX_PICTURE_BYTES, Picture};

/// The quality of JPEG, and lower ones for pictures of noise, which are too large with it.
const QUALITIES: [u8; 3] = [85, 60, 30];

/// Encodes the pixels, and nothing else.
pub(super) fn encode(pixels: &DynamicImage) -> Result<Picture, FileReason> {
    let picture = |encoding, bytes| Picture {
        encoding,
        width: pixels.width(),
        height: pixels.height(),
        bytes,
    };
    let mut opaque = None;
    if pixels.color().has_alpha() {
        let rgba = pixels.to_rgba8();
        if rgba.pixels().any(|Rgba([.., alpha])| *alpha < u8::MAX) {
            let bytes = png(&rgba).map_err(|_| FileReason::Unreadable)?;
            if bytes.len() <= MAX_PICTURE_BYTES {
                return Ok(picture(Encoding::Png, bytes));
            }
        }
        opaque = Some(on_white(&rgba));
    }
    let rgb = opaque.unwrap_or_else(|| pixels.to_rgb8());
    for quality in QUALITIES {
        let mut bytes = Vec::new();
        let encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
        rgb.write_with_encoder(encoder).map_err(|_| FileReason::Unreadable)?;
        if bytes.len() <= MAX_PICTURE_BYTES {
            return Ok(picture(Encoding::Jpeg, bytes));
        }
    }
    Err(FileReason::LimitsExceeded)
}

fn png(pixels: &RgbaImage) -> ImageResult<Vec<u8>> {
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, FilterType::Adaptive);
    encoder.write_image(pixels, pixels.width(), pixels.height(), image::ExtendedColorType::Rgba8)?;
    Ok(bytes)
}

/// What is seen of the pixels on white.
fn on_white(pixels: &RgbaImage) -> RgbImage {
    RgbImage::from_fn(pixels.width(), pixels.height(), |x, y| {
        let Rgba([red, green, blue, alpha]) = *pixels.get_pixel(x, y);
        let on_white = |channel: u8| {
            let mixed = u16::from(channel) * u16::from(alpha) + 255 * (255 - u16::from(alpha));
            u8::try_from(mixed / 255).unwrap_or(u8::MAX)
        };
        image::Rgb([red, green, blue].map(on_white))
    })
}
