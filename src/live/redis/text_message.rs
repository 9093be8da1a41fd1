//! What the scripts publish on an answer's channel.

use cura_domain::answer::{AttemptOffsets, Fence};

use super::scripts::decode_offsets;

/// A published change of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TextMessage<'a> {
    /// `w`: the whole text was replaced; read it.
    Replaced,
    /// `b <fence> <attempt offsets>`: an attempt has begun, and there is no text yet.
    Begun { fence: Fence, offsets: AttemptOffsets },
    /// `a <fence> <offset> <text>`: text was appended.
    Appended { fence: Fence, offset: u64, text: &'a str },
    /// `e <fence>`: the text ended.
    Ended(Fence),
}

impl<'a> TextMessage<'a> {
    /// Decodes a message. One that cannot be decoded is a reason to read the whole text.
    pub(crate) fn decode(payload: &'a [u8]) -> Self {
        std::str::from_utf8(payload)
            .ok()
            .and_then(Self::parse)
            .unwrap_or(Self::Replaced)
    }

    fn parse(payload: &'a str) -> Option<Self> {
        let mut parts = payload.splitn(4, ' ');
        let kind = parts.next()?;
        let fence = Fence(parts.next()?.parse().ok()?);
        match kind {
            "a" => Some(Self::Appended {
                fence,
                offset: parts.next()?.parse().ok()?,
                text: parts.next()?,
            }),
            "b" => Some(Self::Begun {
                fence,
                offsets: decode_offsets(parts.next()?),
            }),
            "e" => Some(Self::Ended(fence)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_decoded_and_anything_else_means_read_the_whole_text() {
        let appended = TextMessage::Appended {
            fence: Fence(2),
            offset: 17,
            text: "two words",
        };
        assert_eq!(TextMessage::decode(b"a 2 17 two words"), appended);
        assert_eq!(TextMessage::decode(b"e 3"), TextMessage::Ended(Fence(3)));
        let begun = TextMessage::Begun {
            fence: Fence(2),
            offsets: AttemptOffsets(vec![0, 0]),
        };
        assert_eq!(TextMessage::decode(b"b 2 0,0"), begun);
        for other in [&b"w"[..], b"", b"a 2", b"a 2 17", b"a x 17 text", b"b 1", b"e", b"\xff"] {
            assert_eq!(TextMessage::decode(other), TextMessage::Replaced);
        }
    }
}
