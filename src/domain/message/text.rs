//! The text of a user's message.

use thiserror::Error;

use crate::text::is_blank;

/// The longest text a user may send, in characters (Unicode scalar values), as the contract says.
pub const MAX_USER_CHARS: usize = 10_000;

/// A user's text that has been checked: no NUL, at most [`MAX_USER_CHARS`] characters, and not blank unless there are files beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageText(String);

/// Why a text cannot be a user's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidText {
    /// Nothing visible.
    #[error("must not be empty")]
    Empty,
    /// More than [`MAX_USER_CHARS`] characters.
    #[error("must have at most {MAX_USER_CHARS} characters")]
    TooLong,
    /// Holds U+0000, which Postgres cannot store.
    #[error("must not contain the NUL character")]
    Nul,
}

impl MessageText {
    /// Checks `raw` and keeps it unchanged, white space included.
    ///
    /// # Errors
    /// [`InvalidText`] names the rule it breaks.
    pub fn new(raw: String) -> Result<Self, InvalidText> {
        if is_blank(&raw) {
            return Err(InvalidText::Empty);
        }
        Self::beside_files(raw)
    }

    /// Checks the text of a message that has files: it may be blank.
    ///
    /// # Errors
    /// [`InvalidText`] names the rule it breaks.
    pub fn beside_files(raw: String) -> Result<Self, InvalidText> {
        if raw.contains('\0') {
            return Err(InvalidText::Nul);
        }
        if raw.chars().nth(MAX_USER_CHARS).is_some() {
            return Err(InvalidText::TooLong);
        }
        Ok(Self(raw))
    }

    /// Whether nothing of it is visible.
    pub fn is_blank(&self) -> bool {
        is_blank(&self.0)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_counted_in_characters_not_bytes() {
        assert!(MessageText::new("ü".repeat(MAX_USER_CHARS)).is_ok());
        assert_eq!(
            MessageText::new("ü".repeat(MAX_USER_CHARS + 1)),
            Err(InvalidText::TooLong)
        );
    }

    #[test]
    fn blank_and_unstorable_texts_are_refused() {
        assert_eq!(MessageText::new(" \n\t".into()), Err(InvalidText::Empty));
        assert_eq!(MessageText::new("\u{1}\u{200b}".into()), Err(InvalidText::Empty));
        assert_eq!(MessageText::new("a\0b".into()), Err(InvalidText::Nul));
    }

    #[test]
    fn beside_files_a_text_may_be_blank_and_nothing_else_is_different() {
        assert!(MessageText::beside_files(" \n".into()).unwrap().is_blank());
        assert!(!MessageText::beside_files("a".into()).unwrap().is_blank());
        assert_eq!(MessageText::beside_files("\0".into()), Err(InvalidText::Nul));
        let long = "a".repeat(MAX_USER_CHARS + 1);
        assert_eq!(MessageText::beside_files(long), Err(InvalidText::TooLong));
    }
}
