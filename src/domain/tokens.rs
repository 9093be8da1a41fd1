//! What a text costs a model, before anybody has counted: rules of thumb, kept in one place so that what is reserved, told and
//! counted is measured alike.

/// UTF-8 bytes of a token, roughly.
pub const BYTES_PER_TOKEN: usize = 4;
/// UTF-8 bytes of a token where a text must not turn out to be too long.
pub const FEW_BYTES_PER_TOKEN: usize = 3;
/// UTF-8 bytes of a token where too little of a text must not be read.
pub const MANY_BYTES_PER_TOKEN: usize = 8;

/// The tokens of a text of so many UTF-8 bytes, roughly; at least one when there is any text.
pub const fn estimate(bytes: usize) -> usize {
    bytes.div_ceil(BYTES_PER_TOKEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_about_four_bytes_and_no_text_is_free() {
        assert_eq!([0, 1, 4, 5].map(estimate), [0, 1, 1, 2]);
    }
}
