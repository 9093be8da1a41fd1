//! What a server sends to a connection that subscribes, in RESP2.

/// The longest message that is read, in bytes: far more than any text has.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// The longest line, in bytes: a length, or why something is refused.
const MAX_LINE: usize = 4096;

/// What was sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Publication<'b> {
    /// What somebody published.
    Message { channel: &'b [u8], payload: &'b [u8] },
    /// A channel is subscribed to, or no longer.
    Answered,
    /// A command is refused.
    Refused(&'b str),
    /// Anything else.
    Other,
}

/// What was sent is not of the protocol.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The first thing that was sent, and its length; `None` if it is not whole yet.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Publication<'_>, usize)>, Malformed> {
    let mut rest = Rest { bytes, at: 0 };
    let publication = match rest.line()? {
        None => None,
        Some([b'-', words @ ..]) => Some(Publication::Refused(std::str::from_utf8(words).unwrap_or_default())),
        Some([b'+' | b':', ..]) => Some(Publication::Other),
        Some([b'*', count @ ..]) => rest.message(number(count)?)?,
        Some(_) => return Err(Malformed),
    };
    Ok(publication.map(|publication| (publication, rest.at)))
}

struct Rest<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Rest<'b> {
    fn message(&mut self, count: usize) -> Result<Option<Publication<'b>>, Malformed> {
        // The longest is a message of a pattern.
        if count > 4 {
            return Err(Malformed);
        }
        let mut parts = [&b""[..]; 4];
        for part in parts.iter_mut().take(count) {
            match self.part()? {
                Some(found) => *part = found,
                None => return Ok(None),
            }
        }
        Ok(Some(match parts {
            [b"message", channel, payload, _] => Publication::Message { channel, payload },
            [b"subscribe" | b"unsubscribe", ..] => Publication::Answered,
            _ => Publication::Other,
        }))
    }

    /// A text, or a number, which nobody needs.
    fn part(&mut self) -> Result<Option<&'b [u8]>, Malformed> {
        let length = match self.line()? {
            None => return Ok(None),
            Some([b':', ..] | b"$-1") => return Ok(Some(b"")),
            Some([b'$', length @ ..]) => number(length)?,
            Some(_) => return Err(Malformed),
        };
        let Some(text) = self.bytes.get(self.at..self.at + length + 2) else {
            return Ok(None);
        };
        self.at += length + 2;
        text.strip_suffix(b"\r\n").map(Some).ok_or(Malformed)
    }

    fn line(&mut self) -> Result<Option<&'b [u8]>, Malformed> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(end) = rest.iter().take(MAX_LINE).position(|byte| *byte == b'\n') else {
            return if rest.len() < MAX_LINE {
                Ok(None)
            } else {
                Err(Malformed)
            };
        };
        self.at += end + 1;
        let line = rest.get(..end).and_then(|line| line.strip_suffix(b"\r"));
        line.map(Some).ok_or(Malformed)
    }
}

fn number(digits: &[u8]) -> Result<usize, Malformed> {
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    number.filter(|number| *number <= MAX_BYTES).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_was_sent_is_read_as_soon_as_it_is_whole() {
        let cases: [(&[u8], Publication<'_>); 6] = [
            (
                b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$4\r\na\r\nb\r\n",
                Publication::Message {
                    channel: b"c",
                    payload: b"a\r\nb",
                },
            ),
            (b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n", Publication::Answered),
            (b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n", Publication::Answered),
            (b"-NOPERM no\r\n", Publication::Refused("NOPERM no")),
            (b"+OK\r\n", Publication::Other),
            (b"*2\r\n$4\r\npong\r\n$0\r\n\r\n", Publication::Other),
        ];
        for (bytes, publication) in cases {
            for end in 0..bytes.len() {
                assert_eq!(parse(&bytes[..end]), Ok(None), "{end} bytes of {bytes:?}");
            }
            let both = [bytes, b"*3"].concat();
            assert_eq!(parse(&both), Ok(Some((publication, bytes.len()))));
        }
    }

    #[test]
    fn what_is_no_protocol_is_refused() {
        for bytes in [
            &b"HTTP/1.1 400\r\n"[..],
            b"*9\r\n",
            b"*3\r\n$99999999999\r\n",
            b"*1\r\n$1\r\nabc",
            b"*x\r\n",
            &[b'*'; MAX_LINE],
        ] {
            assert_eq!(parse(bytes), Err(Malformed), "{bytes:?}");
        }
    }
}
