//! Token estimates: rules of thumb for the tokens of a text that was not counted, in one place, so that reservations, prompts
//! and usage are measured alike.

/// Estimated UTF-8 bytes of a token.
pub const BYTES_PER_TOKEN: usize = 4;
/// The low estimate of the UTF-8 bytes of a token, for texts that must not exceed a limit.
pub const MIN_BYTES_PER_TOKEN: usize = 3;
/// The high estimate of the UTF-8 bytes of a token, for reading at least as much text as has room.
pub const MAX_BYTES_PER_TOKEN: usize = 8;

/// The estimated tokens of a text of so many UTF-8 bytes; at least one if there is any text.
pub const fn estimate(bytes: usize) -> usize {
    bytes.div_ceil(BYTES_PER_TOKEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_about_four_bytes_and_every_text_costs_at_least_one() {
        assert_eq!([0, 1, 4, 5].map(estimate), [0, 1, 1, 2]);
    }
}
