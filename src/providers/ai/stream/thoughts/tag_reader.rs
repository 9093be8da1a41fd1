//! Recognises a tag while it is read.

use std::sync::LazyLock;

use super::attributes::Attributes;
use super::tags::{Kind, Match, TAGS, Tag};

/// The first bytes of a tag for which [`BEGINNINGS`] says which tags have them; every tag has more.
const INDEXED_BYTES: usize = 4;

/// For each of the first places in a tag and each byte: the tags that have it there, a bit for each of [`TAGS`].
static BEGINNINGS: LazyLock<[[u64; 256]; INDEXED_BYTES]> = LazyLock::new(|| {
    let mut beginnings = [[0; 256]; INDEXED_BYTES];
    for (bit, (text, _)) in TAGS.iter().enumerate() {
        for (place, by_byte) in beginnings.iter_mut().enumerate() {
            for (byte, tags) in (0..=u8::MAX).zip(by_byte) {
                let has_it = is_same(text, text.as_bytes().get(place..=place), &[byte]);
                *tags |= u64::from(has_it) << bit;
            }
        }
    }
    beginnings
});

/// Recognises a tag character by character; each is looked at once.
#[derive(Debug, Clone)]
pub(super) struct TagReader {
    /// The tags that may still come, a bit for each of [`TAGS`].
    candidates: u64,
    /// The bytes that were read.
    bytes: usize,
    /// The tag whose name was read, if a space followed it.
    attributes: Option<(Tag, Attributes)>,
}

impl TagReader {
    /// Before the first character.
    pub(super) const fn new() -> Self {
        Self {
            candidates: u64::MAX,
            bytes: 0,
            attributes: None,
        }
    }

    /// What is read with this character.
    pub(super) fn push(&mut self, letter: char) -> Match<Tag> {
        if let Some((tag, attributes)) = &mut self.attributes {
            let tag = *tag;
            return match attributes.push(letter) {
                Some(true) => Match::Is(tag),
                Some(false) => Match::Begins,
                None => self.fail(),
            };
        }
        let mut buffer = [0; 4];
        let letter_bytes = letter.encode_utf8(&mut buffer).as_bytes();
        let (from, to) = (self.bytes, self.bytes + letter_bytes.len());
        self.bytes = to;
        if to <= INDEXED_BYTES {
            for (place, byte) in (from..to).zip(letter_bytes) {
                let by_byte = BEGINNINGS
                    .get(place)
                    .and_then(|by_byte| by_byte.get(usize::from(*byte)));
                self.candidates &= by_byte.copied().unwrap_or_default();
            }
            return if self.candidates == 0 { Match::No } else { Match::Begins };
        }
        let mut remaining = std::mem::take(&mut self.candidates);
        while remaining != 0 {
            let bit = remaining & remaining.wrapping_neg();
            remaining ^= bit;
            let Some((text, tag)) = usize::try_from(bit.trailing_zeros()).ok().and_then(|at| TAGS.get(at)) else {
                break;
            };
            if is_same(text, text.as_bytes().get(from..to), letter_bytes) {
                if to == text.len() {
                    return Match::Is(*tag);
                }
                self.candidates |= bit;
            } else if matches!(letter, ' ' | '\t') && from + 1 == text.len() {
                let allowed = match tag {
                    Tag::Open(Kind::Named(_) | Kind::AtStart(_)) => true,
                    Tag::Close(Kind::Named(_) | Kind::AtStart(_)) => false,
                    _ => continue,
                };
                self.attributes = Some((*tag, Attributes::new(allowed)));
            }
        }
        if self.candidates == 0 && self.attributes.is_none() {
            return Match::No;
        }
        Match::Begins
    }

    const fn fail(&mut self) -> Match<Tag> {
        self.candidates = 0;
        self.attributes = None;
        Match::No
    }
}

/// Whether these are the same bytes of `text`. In angle brackets, case does not matter.
fn is_same(text: &str, part: Option<&[u8]>, read: &[u8]) -> bool {
    part.is_some_and(|part| {
        if text.starts_with('<') {
            part.eq_ignore_ascii_case(read)
        } else {
            part == read
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::attributes::MAX_ATTRIBUTE_BYTES;
    use super::super::tags::{begins_a_tag, may_follow};
    use super::*;

    fn tag(text: &str) -> Match<Tag> {
        let mut reader = TagReader::new();
        text.chars().fold(Match::Begins, |_, letter| reader.push(letter))
    }

    #[test]
    fn every_tag_is_recognised_and_none_begins_with_another() {
        assert!(TAGS.len() <= 64, "one bit each");
        for (text, found) in TAGS.iter() {
            assert!(text.len() > INDEXED_BYTES + 1, "{text}");
            assert_eq!(tag(text), Match::Is(*found), "{text}");
            for at in (1..text.len()).filter(|&at| text.is_char_boundary(at)) {
                assert_eq!(tag(&text[..at]), Match::Begins, "{text}");
            }
            let mut letters = text.chars();
            let (first, second) = (letters.next().unwrap(), letters.next().unwrap());
            assert!(begins_a_tag(first) && (first != '<' || may_follow(second)), "{text}");
        }
    }

    #[test]
    fn a_tag_may_have_attributes() {
        let opened = Match::Is(Tag::Open(Kind::Named(0)));
        for text in ["<think >", "<think a=\"1\">", "<THINK a=1 b='x y'>", "<think a=\"é\" >"] {
            assert_eq!(tag(text), opened, "{text}");
        }
        assert_eq!(tag("</think >"), Match::Is(Tag::Close(Kind::Named(0))));
        for text in [
            "<think a",
            "<think a>",
            "<think a b=",
            "<think />",
            "</think a=",
            "<think a=<",
            "<think a=\"`",
            "<|think| ",
        ] {
            assert!(
                tag(text) == Match::No || tag(&format!("{text}>")) == Match::No,
                "{text}"
            );
        }
        let long = format!("<think a=\"{}", "x".repeat(MAX_ATTRIBUTE_BYTES));
        assert_eq!(tag(&long), Match::No);
    }
}
