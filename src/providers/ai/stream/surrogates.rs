//! Text that may be cut within a character: JSON writes characters like 👋 as two halves ("\ud83d\udc4b"), and some servers
//! send each half as a piece of its own, which no `String` can hold.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};

/// A piece of text as it came: UTF-8, but for halves of characters (WTF-8).
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wtf8Text(Vec<u8>);

impl Wtf8Text {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
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

        // As bytes, serde_json lets halves through.
        deserializer.deserialize_bytes(Text)
    }
}

/// Joins halves across pieces. What never finds its other half is shown as U+FFFD, or, at the very end, not at all.
#[derive(Debug, Default)]
pub(crate) struct SurrogateJoiner {
    /// The first half of a character whose second may come with the next piece.
    held: Vec<u8>,
}

impl SurrogateJoiner {
    /// The text of the next piece, as far as its characters are whole.
    pub(crate) fn push(&mut self, piece: Wtf8Text) -> String {
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend(piece.0);
        let mut bytes = match String::from_utf8(bytes) {
            Ok(text) => return text,
            Err(error) => error.into_bytes(),
        };
        if matches!(bytes.as_slice(), [.., 0xED, 0xA0..=0xAF, _]) {
            self.held = bytes.split_off(bytes.len() - 3);
        }
        let mut text = String::with_capacity(bytes.len());
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let whole = rest.utf8_chunks().next().map_or("", |chunk| chunk.valid());
            text.push_str(whole);
            rest = rest.get(whole.len()..).unwrap_or_default();
            if let Some((character, more)) = first_half(rest) {
                text.push(character);
                rest = more;
            }
        }
        text
    }
}

/// The character whose half `bytes` begin with, and what follows: U+FFFD when the other half does not.
fn first_half(bytes: &[u8]) -> Option<(char, &[u8])> {
    let lone = char::REPLACEMENT_CHARACTER;
    match bytes {
        [] => None,
        [0xED, a @ 0xA0..=0xAF, b, 0xED, c @ 0xB0..=0xBF, d, rest @ ..] => {
            let ten = |high: u8, low: u8| (u32::from(high & 0x0F) << 6) | u32::from(low & 0x3F);
            let joined = 0x1_0000 + (ten(*a, *b) << 10) + ten(*c, *d);
            Some((char::from_u32(joined).unwrap_or(lone), rest))
        }
        [0xED, _, _, rest @ ..] => Some((lone, rest)),
        // Nothing else that is not UTF-8 can come out of JSON that was.
        [_, rest @ ..] => Some((lone, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(pieces: &[&str]) -> Vec<String> {
        let mut joiner = SurrogateJoiner::default();
        let raw = |piece: &&str| serde_json::from_str(&format!("\"{piece}\"")).unwrap();
        pieces.iter().map(|piece| joiner.push(raw(piece))).collect()
    }

    #[test]
    fn a_character_in_two_halves_is_one_wherever_it_is_cut() {
        assert_eq!(joined(&[r"Hi \ud83d\udc4b!"]), ["Hi 👋!"]);
        assert_eq!(joined(&[r"Hi \ud83d", r"\udc4b!"]), ["Hi ", "👋!"]);
        assert_eq!(
            joined(&[r"\ud83d", "", r"\udc4b\ud83d", r"\udc4b"]),
            ["", "", "👋", "👋"]
        );
        assert_eq!(joined(&["wörld 👋", ""]), ["wörld 👋", ""]);
    }

    #[test]
    fn half_a_character_alone_spoils_nothing_else() {
        assert_eq!(joined(&[r"a\ud83db"]), ["a\u{fffd}b"]);
        assert_eq!(joined(&[r"a\ud83d", "b"]), ["a", "\u{fffd}b"]);
        assert_eq!(joined(&[r"a\udc4bb", r"\udc4b"]), ["a\u{fffd}b", "\u{fffd}"]);
        assert_eq!(joined(&[r"\ud83d\ud83d", r"\udc4b"]), ["\u{fffd}", "👋"]);
    }
}
