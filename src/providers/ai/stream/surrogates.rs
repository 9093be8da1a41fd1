//! Text that may be split within a character: JSON escapes characters like 👋 as two surrogates ("\ud83d\udc4b"), and some
//! servers send each surrogate in an event of its own, which no `String` can hold.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};

/// A part of a text in WTF-8: UTF-8 that may also contain lone surrogates.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wtf8Text(Vec<u8>);

impl Wtf8Text {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Wtf8Text {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl<'de> Deserialize<'de> for Wtf8Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Wtf8Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Wtf8Text, E> {
                Ok(Wtf8Text(bytes.to_vec()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Wtf8Text, E> {
                Ok(Wtf8Text(text.as_bytes().to_vec()))
            }
        }

        // serde_json accepts lone surrogates only in bytes.
        deserializer.deserialize_bytes(Text)
    }
}

/// Joins surrogates across parts. A lone one becomes U+FFFD, or is dropped at the end of the text.
#[derive(Debug, Default)]
pub(crate) struct SurrogateJoiner {
    /// A high surrogate whose low one may come with the next part.
    high: Vec<u8>,
}

impl SurrogateJoiner {
    /// The text of the next part, as far as its characters are complete.
    pub(crate) fn push(&mut self, part: Wtf8Text) -> String {
        let mut bytes = part.0;
        if !self.high.is_empty() {
            bytes.splice(..0, self.high.drain(..));
        }
        let mut bytes = match String::from_utf8(bytes) {
            Ok(text) => return text,
            Err(error) => error.into_bytes(),
        };
        if matches!(bytes.as_slice(), [.., 0xED, 0xA0..=0xAF, _]) {
            self.high = bytes.split_off(bytes.len() - 3);
        }
        let mut text = String::with_capacity(bytes.len());
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let valid = rest.utf8_chunks().next().map_or("", |chunk| chunk.valid());
            text.push_str(valid);
            rest = rest.get(valid.len()..).unwrap_or_default();
            if let Some((character, more)) = first_surrogate(rest) {
                text.push(character);
                rest = more;
            }
        }
        text
    }
}

/// The character whose high surrogate `bytes` begin with, and what follows it; U+FFFD if its low surrogate does not follow.
fn first_surrogate(bytes: &[u8]) -> Option<(char, &[u8])> {
    let lone = char::REPLACEMENT_CHARACTER;
    match bytes {
        [] => None,
        [0xED, a @ 0xA0..=0xAF, b, 0xED, c @ 0xB0..=0xBF, d, rest @ ..] => {
            let ten = |high: u8, low: u8| (u32::from(high & 0x0F) << 6) | u32::from(low & 0x3F);
            let joined = 0x1_0000 + (ten(*a, *b) << 10) + ten(*c, *d);
            Some((char::from_u32(joined).unwrap_or(lone), rest))
        }
        [0xED, _, _, rest @ ..] => Some((lone, rest)),
        // JSON in UTF-8 cannot contain anything else that is not UTF-8.
        [_, rest @ ..] => Some((lone, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(parts: &[&str]) -> Vec<String> {
        let mut joiner = SurrogateJoiner::default();
        let raw = |part: &&str| serde_json::from_str(&format!("\"{part}\"")).unwrap();
        parts.iter().map(|part| joiner.push(raw(part))).collect()
    }

    #[test]
    fn surrogates_are_joined_wherever_they_are_split() {
        assert_eq!(joined(&[r"Hi \ud83d\udc4b!"]), ["Hi 👋!"]);
        assert_eq!(joined(&[r"Hi \ud83d", r"\udc4b!"]), ["Hi ", "👋!"]);
        assert_eq!(
            joined(&[r"\ud83d", "", r"\udc4b\ud83d", r"\udc4b"]),
            ["", "", "👋", "👋"]
        );
        assert_eq!(joined(&["wörld 👋", ""]), ["wörld 👋", ""]);
    }

    #[test]
    fn a_lone_surrogate_leaves_the_rest_intact() {
        assert_eq!(joined(&[r"a\ud83db"]), ["a\u{fffd}b"]);
        assert_eq!(joined(&[r"a\ud83d", "b"]), ["a", "\u{fffd}b"]);
        assert_eq!(joined(&[r"a\udc4bb", r"\udc4b"]), ["a\u{fffd}b", "\u{fffd}"]);
        assert_eq!(joined(&[r"\ud83d\ud83d", r"\udc4b"]), ["\u{fffd}", "👋"]);
    }
}
