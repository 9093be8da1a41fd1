//! From a body to the events of an answer, whatever the protocol: leaves out what says nothing, and counts what makes no sense.

use std::collections::VecDeque;

use super::event_body::{BodyPart, EventBody};
use super::reading::Reading;
use crate::ai::error::Failure;
use crate::ai::stream::completion_stream::ProtocolEvent;

/// Reads the event of this name and data.
pub(crate) type ReadEvent = fn(name: &str, data: &str) -> Result<Reading, Failure>;

/// The events of one answer, read one at a time on demand.
pub(crate) struct AnswerEvents {
    body: EventBody,
    read: ReadEvent,
    /// Lines of a body that is no stream of events but one JSON text a line.
    lines: VecDeque<String>,
    /// Events without sense since the last one with it.
    skipped: u32,
    ended: bool,
}

impl AnswerEvents {
    pub(crate) const fn new(body: EventBody, read: ReadEvent) -> Self {
        Self {
            body,
            read,
            lines: VecDeque::new(),
            skipped: 0,
            ended: false,
        }
    }

    /// The next event; `None` after the proper end of the body. A keepalive is none: the idle timeout goes on.
    ///
    /// # Errors
    /// The failure that an event tells of; [`Failure::Protocol`] when text cannot be read or a limit is exceeded;
    /// [`Failure::Unavailable`] when the connection broke. Nothing follows.
    pub(crate) async fn next(&mut self) -> Option<Result<ProtocolEvent, Failure>> {
        while !self.ended {
            let reading = match self.next_reading().await {
                Ok(Some(reading)) => reading,
                Ok(None) => {
                    self.ended = true;
                    break;
                }
                Err(failure) => {
                    self.ended = true;
                    return Some(Err(failure));
                }
            };
            match reading {
                Reading::Event(mut event) => {
                    self.ended = event.done;
                    event.skipped = std::mem::take(&mut self.skipped);
                    return Some(Ok(*event));
                }
                Reading::Keepalive => {}
                Reading::Junk => self.skipped = self.skipped.saturating_add(1),
            }
        }
        let skipped = std::mem::take(&mut self.skipped);
        (skipped > 0).then(|| {
            Ok(ProtocolEvent {
                skipped,
                ..ProtocolEvent::default()
            })
        })
    }

    async fn next_reading(&mut self) -> Result<Option<Reading>, Failure> {
        if let Some(line) = self.lines.pop_front() {
            return (self.read)("", &line).map(Some);
        }
        match self.body.next().await? {
            BodyPart::Event { name, data } => (self.read)(&name, &data).map(Some),
            BodyPart::Whole(body) => self.whole(&body).map(Some),
            BodyPart::End => Ok(None),
            BodyPart::Broken => Err(Failure::Unavailable {
                status: None,
                retry_after: None,
            }),
        }
    }

    /// A body that is one JSON text is the whole answer; else each of its lines is an event.
    fn whole(&mut self, body: &str) -> Result<Reading, Failure> {
        if body.trim_end().contains('\n') && serde_json::from_str::<serde::de::IgnoredAny>(body).is_err() {
            self.lines = body
                .lines()
                .filter(|line| !line.trim().is_empty())
                .map(str::to_owned)
                .collect();
            return Ok(Reading::Keepalive);
        }
        let mut reading = (self.read)("", body)?;
        if let Reading::Event(event) = &mut reading {
            event.done |= event.text.is_some() || event.end_word.is_some();
        }
        Ok(reading)
    }
}
