//! Idempotency keys: a client repeats a request with the same key, and it takes effect once.

use thiserror::Error;

/// The longest key, in bytes.
const MAX_KEY_BYTES: usize = 255;

/// A key that has been checked: 1–255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// The text cannot be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must have 1 to {MAX_KEY_BYTES} visible ASCII characters")]
pub struct InvalidKey;

impl IdempotencyKey {
    /// Checks `raw`.
    ///
    /// # Errors
    /// [`InvalidKey`] when it is empty, too long, or holds anything but visible ASCII.
    pub fn new(raw: &str) -> Result<Self, InvalidKey> {
        let valid = (1..=MAX_KEY_BYTES).contains(&raw.len()) && raw.bytes().all(|byte| byte.is_ascii_graphic());
        valid.then(|| Self(raw.to_owned())).ok_or(InvalidKey)
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_visible_ascii_of_a_sensible_length_is_a_key() {
        assert!(IdempotencyKey::new("8e03978e-40d5-43e8-bc93-6894a57f9324").is_ok());
        for bad in ["", "a b", "ü", "a\n", &"x".repeat(256)] {
            assert_eq!(IdempotencyKey::new(bad), Err(InvalidKey), "{bad:?}");
        }
    }
}
