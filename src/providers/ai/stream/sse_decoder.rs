//! Decodes server-sent events from bytes that may be split anywhere, within a fixed amount of memory.

/// The longest event we read, in bytes. Real ones have a few hundred.
pub(crate) const MAX_EVENT_BYTES: usize = 256 * 1024;

/// An event or line exceeds [`MAX_EVENT_BYTES`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EventTooLong;

/// Collects the `data` of one event at a time. Holds at most two events' worth of bytes.
#[derive(Default)]
pub(crate) struct SseDecoder {
    line: Vec<u8>,
    data: Vec<u8>,
    after_cr: bool,
}

impl SseDecoder {
    /// Decodes `bytes` up to the end of an event. Returns how many bytes were consumed, and the data of the event if one
    /// ended there.
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> Result<(usize, Option<Vec<u8>>), EventTooLong> {
        let mut consumed = 0;
        while let Some(rest) = bytes.get(consumed..).filter(|rest| !rest.is_empty()) {
            if std::mem::take(&mut self.after_cr) && rest.first() == Some(&b'\n') {
                consumed += 1;
                continue;
            }
            let end = rest.iter().position(|&byte| byte == b'\n' || byte == b'\r');
            let part = rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest);
            if self.line.len() + self.data.len() + part.len() > MAX_EVENT_BYTES {
                return Err(EventTooLong);
            }
            self.line.extend_from_slice(part);
            consumed += part.len();
            if let Some(end) = end {
                self.after_cr = rest.get(end) == Some(&b'\r');
                consumed += 1;
                if let Some(data) = self.end_line() {
                    return Ok((consumed, Some(data)));
                }
            }
        }
        Ok((consumed, None))
    }

    /// The data of an event that was not ended by an empty line: some servers close right after their last event.
    pub(crate) fn finish(&mut self) -> Option<Vec<u8>> {
        if !self.line.is_empty() {
            self.end_line();
        }
        self.end_line()
    }

    fn end_line(&mut self) -> Option<Vec<u8>> {
        if self.line.is_empty() {
            return (!self.data.is_empty()).then(|| std::mem::take(&mut self.data));
        }
        let line = self.line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.line);
        if let Some(value) = line.strip_prefix(b"data:") {
            if !self.data.is_empty() {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
        }
        self.line.clear();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], step: usize) -> Vec<String> {
        let mut decoder = SseDecoder::default();
        let mut found = Vec::new();
        for mut part in bytes.chunks(step) {
            while !part.is_empty() {
                let (consumed, event) = decoder.decode(part).unwrap();
                found.extend(event);
                part = &part[consumed..];
            }
        }
        found.extend(decoder.finish());
        found
            .into_iter()
            .map(|event| String::from_utf8(event).unwrap())
            .collect()
    }

    #[test]
    fn events_are_the_same_wherever_the_bytes_are_split() {
        let bytes = "\u{feff}data: ä🙂\r\n\r\n: note\nevent: x\ndata:b\ndata: c\n\n\n\rdata: d".as_bytes();
        for step in 1..=bytes.len() {
            assert_eq!(all(bytes, step), ["ä🙂", "b\nc", "d"], "split every {step} bytes");
        }
    }

    #[test]
    fn an_endless_line_is_refused_at_the_limit() {
        let mut decoder = SseDecoder::default();
        assert!(decoder.decode(&vec![b'x'; MAX_EVENT_BYTES]).is_ok());
        assert_eq!(decoder.decode(b"x"), Err(EventTooLong));
    }

    #[test]
    fn an_event_of_endless_lines_is_refused_too() {
        let mut decoder = SseDecoder::default();
        let lines = b"data: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n".repeat(MAX_EVENT_BYTES / 32);
        assert_eq!(decoder.decode(&lines), Err(EventTooLong));
    }
}
