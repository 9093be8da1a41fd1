//! Decodes server-sent events from bytes that may be split anywhere, within a fixed amount of memory.

use crate::ai::protocol::is_error_name;

/// The longest event we read, in bytes. Real ones have a few hundred; some servers send a whole answer as one.
pub(crate) const MAX_EVENT_BYTES: usize = 1024 * 1024;
/// What stands for lines that are no field of an event: a proxy's page, or its error.
const NO_FIELD: &[u8] = b"?";
/// The end of OpenAI's answers.
const DONE: &[u8] = b"[DONE]";
/// How much of an event's name is kept, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// An event or line exceeds [`MAX_EVENT_BYTES`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EventTooLong;

/// An event that is not empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SseEvent {
    /// Its name; empty without one.
    pub(crate) name: String,
    /// Its data.
    pub(crate) data: Vec<u8>,
}

/// Collects one event at a time. Holds at most two events' worth of bytes.
#[derive(Default)]
pub(crate) struct SseDecoder {
    line: Vec<u8>,
    event: SseEvent,
    /// Whether a line of the event is no field.
    has_unknown_line: bool,
    after_cr: bool,
}

impl SseDecoder {
    /// Decodes `bytes` up to the end of an event. Returns how many bytes were consumed, and the event if one ended there.
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> Result<(usize, Option<SseEvent>), EventTooLong> {
        let mut consumed = 0;
        while let Some(rest) = bytes.get(consumed..).filter(|rest| !rest.is_empty()) {
            if std::mem::take(&mut self.after_cr) && rest.first() == Some(&b'\n') {
                consumed += 1;
                continue;
            }
            let end = rest.iter().position(|&byte| byte == b'\n' || byte == b'\r');
            let part = rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest);
            if self.line.len() + self.event.data.len() + part.len() > MAX_EVENT_BYTES {
                return Err(EventTooLong);
            }
            self.line.extend_from_slice(part);
            consumed += part.len();
            if let Some(end) = end {
                self.after_cr = rest.get(end) == Some(&b'\r');
                consumed += 1;
                if let Some(event) = self.end_line() {
                    return Ok((consumed, Some(event)));
                }
            }
        }
        Ok((consumed, None))
    }

    /// An event that was not ended by an empty line: some servers close right after their last event.
    pub(crate) fn finish(&mut self) -> Option<SseEvent> {
        if !self.line.is_empty() {
            self.end_line();
        }
        self.end_line()
    }

    fn end_line(&mut self) -> Option<SseEvent> {
        if self.line.is_empty() {
            let mut event = std::mem::take(&mut self.event);
            if std::mem::take(&mut self.has_unknown_line) && event.data.is_empty() {
                event.data.extend_from_slice(NO_FIELD);
            }
            return (!event.data.is_empty() || is_error_name(&event.name)).then_some(event);
        }
        let line = self.line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.line);
        let value = line.strip_prefix(b"data:");
        let value = value.map(|value| value.strip_prefix(b" ").unwrap_or(value));
        let ended = self.event.take_if_ended_by(value.unwrap_or(line));
        if let Some(value) = value {
            if !self.event.data.is_empty() {
                self.event.data.push(b'\n');
            }
            self.event.data.extend_from_slice(value);
        } else if let Some(name) = line.strip_prefix(b"event:") {
            let name = name.get(..MAX_NAME_BYTES).unwrap_or(name);
            self.event.name = String::from_utf8_lossy(name).trim().to_owned();
        } else if let Some(error) = line.strip_prefix(b"error:") {
            // No field of the standard, but llama.cpp has it.
            "error".clone_into(&mut self.event.name);
            self.event.data.extend_from_slice(error.trim_ascii());
        } else if (line.starts_with(b"{") || line == DONE) && self.event.data.is_empty() {
            // A proxy that gives up within an answer writes its error as it is, and some servers all of their events.
            self.event.data.extend_from_slice(line);
        } else {
            // Comments begin with a colon.
            let is_field = line.starts_with(b":") || line.starts_with(b"id") || line.starts_with(b"retry");
            self.has_unknown_line |= !is_field && !line.trim_ascii().is_empty();
        }
        self.line.clear();
        ended
    }
}

impl SseEvent {
    /// Ends an event before a line that cannot belong to it, because it begins another one: some servers send no empty lines
    /// between events. In JSON, no object follows another without a comma.
    fn take_if_ended_by(&mut self, line: &[u8]) -> Option<Self> {
        let is_whole = self.data.starts_with(b"{") && self.data.trim_ascii_end().ends_with(b"}");
        let begins = line.starts_with(b"{") || line.trim_ascii() == DONE;
        // An error may have any words.
        let data = (is_whole && begins && !is_error_name(&self.name)).then(|| std::mem::take(&mut self.data))?;
        // The name may be that of the event that begins.
        let name = String::new();
        Some(Self { name, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], step: usize) -> Vec<(String, String)> {
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
            .map(|event| (event.name, String::from_utf8(event.data).unwrap()))
            .collect()
    }

    #[test]
    fn events_are_the_same_wherever_the_bytes_are_split() {
        let bytes =
            "\u{feff}data: ä🙂\r\n\r\n: note\nevent: x\ndata:b\ndata: c\n\nevent: y\n\n\rdata: d\n\nerror: {}\n\n{\"error\": 1}"
                .as_bytes();
        let wanted = [
            ("", "ä🙂"),
            ("x", "b\nc"),
            ("", "d"),
            ("error", "{}"),
            ("", "{\"error\": 1}"),
        ];
        let wanted: Vec<_> = wanted.map(|(name, data)| (name.to_owned(), data.to_owned())).into();
        for step in 1..=bytes.len() {
            assert_eq!(all(bytes, step), wanted, "split every {step} bytes");
        }
    }

    #[test]
    fn events_without_empty_lines_between_them_end_with_the_next_one() {
        let bytes = b"data: {\"a\": 1}\ndata: {\"b\":\ndata: {}}\nevent: x\ndata: {}\n{\"c\": 2}\n\n{\"d\": 3}\n[DONE]\n\nevent: error\ndata: {}\ndata: {}\n\n";
        let wanted = [
            ("", "{\"a\": 1}"),
            ("", "{\"b\":\n{}}"),
            ("", "{}"),
            ("x", "{\"c\": 2}"),
            ("", "{\"d\": 3}"),
            ("", "[DONE]"),
            ("error", "{}\n{}"),
        ];
        let wanted: Vec<_> = wanted.map(|(name, data)| (name.to_owned(), data.to_owned())).into();
        for step in 1..=bytes.len() {
            assert_eq!(all(bytes, step), wanted, "split every {step} bytes");
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
