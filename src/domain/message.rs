//! Messages: what was said, by whom, and how far an answer has come.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::text::is_blank;

/// The longest text a user may send, in characters (Unicode scalar values), as the contract says.
pub const MAX_USER_CHARS: usize = 10_000;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// The word used on the wire and in the database.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The value a word stands for, if it is one of ours.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

words!(
    /// Who speaks.
    Role {
        /// The person.
        User = "user",
        /// The model.
        Assistant = "assistant",
        /// Cura itself, to the model.
        System = "system",
    }
);

words!(
    /// How far a message has come. Only `sending` ever changes.
    MessageStatus {
        /// An answer that is queued or being written.
        Sending = "sending",
        /// Final.
        Sent = "sent",
        /// Final, and failed: `metadata.error` says why.
        Error = "error",
    }
);

words!(
    /// Why an answer ended.
    FinishReason {
        /// The model was done.
        Stop = "stop",
        /// The model's output limit was reached.
        Length = "length",
        /// The provider withheld the rest.
        ContentFilter = "content_filter",
        /// The user stopped it.
        Cancelled = "cancelled",
    }
);

/// Tokens an answer cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub input_tokens: i64,
    /// Tokens of the answer.
    pub output_tokens: i64,
    /// Whether these are our estimate, because the provider did not say.
    pub estimated: bool,
}

/// A user's text that has been checked: not blank, no NUL, at most [`MAX_USER_CHARS`] characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageText(String);

/// Why a text cannot be a user's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidText {
    /// Nothing anybody could see.
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
    /// Checks `raw` and keeps it as it is, white space included.
    ///
    /// # Errors
    /// [`InvalidText`] says which rule it breaks.
    pub fn new(raw: String) -> Result<Self, InvalidText> {
        if is_blank(&raw) {
            return Err(InvalidText::Empty);
        }
        if raw.contains('\0') {
            return Err(InvalidText::Nul);
        }
        if raw.chars().nth(MAX_USER_CHARS).is_some() {
            return Err(InvalidText::TooLong);
        }
        Ok(Self(raw))
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
    fn words_round_trip() {
        for status in [MessageStatus::Sending, MessageStatus::Sent, MessageStatus::Error] {
            assert_eq!(MessageStatus::from_word(status.as_str()), Some(status));
        }
        assert_eq!(Role::from_word("tool"), None);
    }
}
