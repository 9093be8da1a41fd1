//! The body of a response: server-sent events, or one JSON text where a server does not stream.

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use reqwest::Response;

use crate::ai::error::Failure;
use crate::ai::stream::sse_decoder::{EventTooLong, SseDecoder, SseEvent};

/// How much is read of a body that is one JSON text, in bytes: the longest text that we keep, however it is escaped, and its
/// surroundings.
const MAX_WHOLE_BYTES: usize = 4 * 1024 * 1024;
/// How much white space may come before a body is taken for no web page.
const MAX_BLANK_BYTES: usize = 4096;

/// What a body holds next.
#[derive(Debug)]
pub(crate) enum BodyPart {
    /// An event.
    Event {
        /// Its name; empty without one.
        name: String,
        /// Its data; bytes that are not UTF-8 have become U+FFFD.
        data: String,
    },
    /// The whole body, which is JSON and no stream of events; it has arrived completely.
    Whole(String),
    /// The beginning of such a body, which is longer than what is read of one.
    Cut(String),
    /// The body's proper end.
    End,
    /// The end of a connection within the body.
    Broken,
}

/// A response body, read no faster than its parts are taken.
pub(crate) struct EventBody {
    bytes: BoxStream<'static, reqwest::Result<Bytes>>,
    form: Form,
    unread: Bytes,
    consumed: usize,
    /// Whether the connection broke while its beginning was looked at.
    is_broken: bool,
}

enum Form {
    /// Only white space has come yet.
    Unknown,
    Events(SseDecoder),
    Json(JsonBody),
    /// As much of a JSON text as is read was handed out.
    Cut,
}

/// A body that begins like JSON.
#[derive(Default)]
struct JsonBody {
    bytes: Vec<u8>,
    /// Where its first line ends.
    first_line: Option<usize>,
}

impl JsonBody {
    fn push(&mut self, bytes: &[u8]) {
        let line_end = bytes.iter().position(|byte| *byte == b'\n');
        self.first_line = self.first_line.or(line_end.map(|at| self.bytes.len() + at));
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether each line is a JSON text of its own: within one, no object follows another without a comma.
    fn is_lines(&self) -> bool {
        let Some((first, rest)) = self.first_line.and_then(|at| self.bytes.split_at_checked(at)) else {
            return false;
        };
        let rest = rest.trim_ascii_start();
        first.trim_ascii_end().ends_with(b"}") && (rest.starts_with(b"{") || rest.starts_with(b"[DONE]"))
    }

    /// What was read of it, up to a whole character.
    fn take(&mut self) -> String {
        let mut bytes = std::mem::take(&mut self.bytes);
        if let Err(error) = std::str::from_utf8(&bytes)
            && error.error_len().is_none()
        {
            bytes.truncate(error.valid_up_to());
        }
        text(bytes)
    }
}

impl EventBody {
    pub(crate) fn new(response: Response) -> Self {
        Self {
            bytes: response.bytes_stream().boxed(),
            form: Form::Unknown,
            unread: Bytes::new(),
            consumed: 0,
            is_broken: false,
        }
    }

    /// Whether the body begins as a web page does; waits for its first byte that is no white space.
    pub(crate) async fn begins_like_a_page(&mut self) -> bool {
        loop {
            let beginning = self.unread.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.unread);
            if let Some(first) = beginning.iter().find(|byte| !byte.is_ascii_whitespace()) {
                return *first == b'<';
            }
            if self.unread.len() > MAX_BLANK_BYTES {
                return false;
            }
            match self.bytes.next().await {
                Some(Ok(bytes)) => self.unread = [&*self.unread, &*bytes].concat().into(),
                Some(Err(_)) => {
                    self.is_broken = true;
                    return false;
                }
                None => return false,
            }
        }
    }

    /// The next part of the body.
    ///
    /// # Errors
    /// [`Failure::Protocol`] when an event exceeds our limit.
    pub(crate) async fn next(&mut self) -> Result<BodyPart, Failure> {
        loop {
            if let Some(event) = self.decode()? {
                return Ok(part(event));
            }
            if let Form::Json(body) = &mut self.form
                && body.bytes.len() > MAX_WHOLE_BYTES
            {
                let cut = body.take();
                self.form = Form::Cut;
                return Ok(BodyPart::Cut(cut));
            }
            if matches!(self.form, Form::Cut) {
                return Ok(BodyPart::End);
            }
            if self.is_broken {
                return Ok(BodyPart::Broken);
            }
            match self.bytes.next().await {
                Some(Ok(bytes)) => (self.unread, self.consumed) = (bytes, 0),
                Some(Err(_)) => return Ok(BodyPart::Broken),
                None => return Ok(self.finish()),
            }
        }
    }

    /// Takes what is unread, up to the end of an event, which is returned.
    fn decode(&mut self) -> Result<Option<SseEvent>, Failure> {
        let unread = self.unread.get(self.consumed..).unwrap_or_default();
        if matches!(self.form, Form::Unknown) {
            // No field of an event begins like JSON.
            self.form = match unread.iter().find(|byte| !byte.is_ascii_whitespace()) {
                None => Form::Unknown,
                Some(b'{' | b'[') => Form::Json(JsonBody::default()),
                Some(_) => Form::Events(SseDecoder::default()),
            };
        }
        match &mut self.form {
            Form::Unknown => Ok(None),
            Form::Events(decoder) => {
                let (consumed, event) = decoder
                    .decode(unread)
                    .map_err(|EventTooLong| Failure::Protocol("an event longer than our limit"))?;
                self.consumed += consumed;
                Ok(event)
            }
            Form::Json(body) => {
                body.push(unread);
                if body.is_lines() {
                    (self.unread, self.consumed) = (std::mem::take(&mut body.bytes).into(), 0);
                    self.form = Form::Events(SseDecoder::default());
                    return self.decode();
                }
                self.consumed = self.unread.len();
                Ok(None)
            }
            Form::Cut => Ok(None),
        }
    }

    fn finish(&mut self) -> BodyPart {
        match &mut self.form {
            Form::Unknown | Form::Cut => BodyPart::End,
            Form::Events(decoder) => decoder.finish().map_or(BodyPart::End, part),
            Form::Json(body) if body.bytes.is_empty() => BodyPart::End,
            Form::Json(body) => BodyPart::Whole(text(std::mem::take(&mut body.bytes))),
        }
    }
}

fn part(event: SseEvent) -> BodyPart {
    BodyPart::Event {
        name: event.name,
        data: text(event.data),
    }
}

/// Half a character is no reason to lose an answer.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
