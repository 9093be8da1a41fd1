//! Decoding, within limits that the header of a picture is held against first.

use std::io::Cursor;

use cura_domain::file::FileReason;
use cura_domain::file_type::FileType;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::frames;

/// The most pixels: phones take photos of 50 megapixels.
const MAX_PIXELS: u64 = 50_000_000;
/// The longest side, in pixels.
const MAX_SIDE: u32 = 12_000;
/// The most frames.
const MAX_FRAMES: usize = 1_000;
/// The most memory for the pixels: 50 million with four channels of 16 bits are 400 MB.
const MAX_PIXEL_BYTES: u64 = 448 * 1024 * 1024;

/// The pixels of a picture as they are stored, and how they are to be turned.
pub(super) struct Decoded {
    pub(super) pixels: DynamicImage,
    pub(super) orientation: Orientation,
}

/// Decodes a picture, or the first frame of one that moves.
pub(super) fn decode(file_type: FileType, bytes: &[u8]) -> Result<Decoded, FileReason> {
    let format = match file_type {
        FileType::Jpeg => ImageFormat::Jpeg,
        FileType::Png => ImageFormat::Png,
        FileType::Gif => ImageFormat::Gif,
        FileType::Webp => ImageFormat::WebP,
        FileType::Pdf | FileType::Doc | FileType::Docx => return Err(FileReason::Unreadable),
    };
    if frames::count(file_type, bytes, MAX_FRAMES) > MAX_FRAMES {
        return Err(FileReason::LimitsExceeded);
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_PIXEL_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(reason)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(FileReason::Unreadable);
    }
    if u64::from(width) * u64::from(height) > MAX_PIXELS || width.max(height) > MAX_SIDE {
        return Err(FileReason::LimitsExceeded);
    }
    // Broken metadata is no reason to refuse a picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let pixels = DynamicImage::from_decoder(decoder).map_err(reason)?;
    Ok(Decoded { pixels, orientation })
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn reason(error: ImageError) -> FileReason {
    match error {
        ImageError::Limits(_) => FileReason::LimitsExceeded,
        _ => FileReason::Unreadable,
    }
}
