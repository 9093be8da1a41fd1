//! From a body to the events of an answer, whatever the protocol: leaves out what says nothing, and counts what makes no sense.

use std::collections::VecDeque;

use cura_domain::message::FinishReason;
use futures_util::stream;
use serde::de::IgnoredAny;

use super::event_body::{BodyPart, EventBody};
use super::json_cut::completed;
use super::reading::{Reading, is_error_name};
use crate::ai::error::Failure;
use crate::ai::stream::completion_stream::{ProtocolEvent, ProtocolEvents};
use crate::ai::stream::end_word::EndWord;

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
    /// Whether an event since the last one with sense was not understood, with or without sense.
    is_unclear: bool,
    ended: bool,
}

impl AnswerEvents {
    pub(crate) const fn new(body: EventBody, read: ReadEvent) -> Self {
        Self {
            body,
            read,
            lines: VecDeque::new(),
            skipped: 0,
            is_unclear: false,
            ended: false,
        }
    }

    /// The events, read one at a time on demand.
    pub(crate) fn into_stream(self) -> ProtocolEvents {
        Box::pin(stream::unfold(Box::new(self), |mut events| async move {
            let event = events.next().await?;
            Some((event, events))
        }))
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
                    event.is_after_unclear = std::mem::take(&mut self.is_unclear);
                    return Some(Ok(*event));
                }
                Reading::Keepalive => {}
                Reading::Unknown => self.is_unclear = true,
                Reading::Junk => {
                    self.is_unclear = true;
                    self.skipped = self.skipped.saturating_add(1);
                }
            }
        }
        let skipped = std::mem::take(&mut self.skipped);
        let is_after_unclear = std::mem::take(&mut self.is_unclear);
        is_after_unclear.then(|| {
            Ok(ProtocolEvent {
                skipped,
                is_after_unclear,
                ..ProtocolEvent::default()
            })
        })
    }

    async fn next_reading(&mut self) -> Result<Option<Reading>, Failure> {
        if let Some(line) = self.lines.pop_front() {
            return (self.read)("", &line).map(Some);
        }
        match self.body.next().await? {
            BodyPart::Event { name, data } if !is_error_name(&name) && are_events(&data) => {
                self.lines = lines(&data);
                Ok(Some(Reading::Keepalive))
            }
            BodyPart::Event { name, data } => (self.read)(&name, &data).map(Some),
            BodyPart::Whole(body) => self.whole(&body).map(Some),
            BodyPart::Cut(body) => self.cut(body).map(Some),
            BodyPart::End => Ok(None),
            BodyPart::Broken => Err(Failure::Unavailable {
                status: None,
                retry_after: None,
            }),
        }
    }

    /// A body that is one JSON text is the whole answer; else each of its lines is an event.
    fn whole(&mut self, body: &str) -> Result<Reading, Failure> {
        if body.trim_end().contains('\n') && serde_json::from_str::<IgnoredAny>(body).is_err() {
            self.lines = lines(body);
            return Ok(Reading::Keepalive);
        }
        let mut reading = (self.read)("", body)?;
        if let Reading::Event(event) = &mut reading {
            event.done |= event.text.is_some() || event.end_word.is_some();
        }
        Ok(reading)
    }

    /// The beginning of a body that is one JSON text. A text that goes on behind it ends as one that is too long.
    fn cut(&self, body: String) -> Result<Reading, Failure> {
        let too_long = Failure::Protocol("a body longer than our limit, and no text where it is cut");
        let Some(completed) = completed(body) else {
            return Err(too_long);
        };
        match (self.read)("", &completed.json)? {
            Reading::Event(mut event) if event.text.is_some() => {
                if completed.is_within_string || event.end_word.is_none() {
                    event.end_word = Some(EndWord::Reason(FinishReason::Length));
                }
                event.done = true;
                Ok(Reading::Event(event))
            }
            _ => Err(too_long),
        }
    }
}

/// Whether the data of an event is several events, because a server sent no empty lines between them.
fn are_events(data: &str) -> bool {
    let is_event = |line: &str| {
        let line = line.trim();
        line.is_empty() || line == "[DONE]" || (line.starts_with('{') && line.ends_with('}'))
    };
    data.contains('\n') && data.lines().all(is_event) && serde_json::from_str::<IgnoredAny>(data).is_err()
}

fn lines(text: &str) -> VecDeque<String> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(str::to_owned)
        .collect()
}
