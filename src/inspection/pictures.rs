//! Pictures made anew: decoded, scaled down, turned upright and encoded again, so that nothing but the pixels is left.
//!
//! A picture is measured by its header before anything is decoded. Of one that moves, the first frame is taken. What stands behind the
//! end of a picture is not looked at: nothing of Cura reads it, and the virus scanner gets the file as it is.

mod decode;
mod encode;
mod frames;
mod scale;

use cura_domain::file::FileReason;
use cura_domain::file_type::FileType;

use crate::answer::Picture;

/// The longest side of a picture for the model: what Anthropic scales larger ones down to.
pub const MODEL_SIDE: u32 = 1_568;
/// The longest side of a thumbnail.
pub const THUMBNAIL_SIDE: u32 = 320;
/// The sides of the two sizes of an avatar.
pub const AVATAR_SIDES: [u32; 2] = [512, 128];

/// Two sizes of one picture.
pub(crate) struct Made {
    pub(crate) large: Picture,
    pub(crate) small: Picture,
}

/// A picture for the model and its thumbnail.
pub(crate) fn for_model_and_lists(file_type: FileType, bytes: &[u8]) -> Result<Made, FileReason> {
    let decoded = decode::decode(file_type, bytes)?;
    // Before turning: turning all pixels of a large photo takes longer than everything else, and as much memory again.
    let mut large = scale::to_fit(decoded.pixels, MODEL_SIDE);
    large.apply_orientation(decoded.orientation);
    let encoded = encode::encode(&large)?;
    let small = scale::to_fit(large, THUMBNAIL_SIDE);
    Ok(Made {
        large: encoded,
        small: encode::encode(&small)?,
    })
}

/// The two sizes of an avatar: the square in the middle of a picture.
pub(crate) fn for_profile(file_type: FileType, bytes: &[u8]) -> Result<Made, FileReason> {
    let decoded = decode::decode(file_type, bytes)?;
    let [large_side, small_side] = AVATAR_SIDES;
    let mut large = scale::to_square(decoded.pixels, large_side);
    large.apply_orientation(decoded.orientation);
    let encoded = encode::encode(&large)?;
    let small = scale::to_square(large, small_side);
    Ok(Made {
        large: encoded,
        small: encode::encode(&small)?,
    })
}

#[cfg(test)]
mod tests;
