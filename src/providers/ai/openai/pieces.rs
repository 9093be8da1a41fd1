//! From chunks to pieces: what counts as an answer, and when to stop waiting for it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_openai::error::OpenAIError;
use cura_domain::message::{FinishReason, Usage};
use futures_util::stream::{self, Stream, StreamExt};
use tokio::time::Instant;

use super::super::{AiError, AnswerStream, Failure, Piece, Waiting};
use super::chunk::Chunk;
use super::config::Settings;
use super::guard::{Ending, Guard};
use super::refusal;

/// The longest answer we take, in bytes of text.
const MAX_TEXT_BYTES: usize = 1024 * 1024;

/// How long a finished answer waits for its usage and its end marker.
const FAREWELL: Duration = Duration::from_secs(2);

type Events = Pin<Box<dyn Stream<Item = Result<Chunk, OpenAIError>> + Send>>;

struct Answer {
    events: Events,
    guard: Arc<Guard>,
    began: Instant,
    first_byte_timeout: Duration,
    idle_timeout: Duration,
    total_timeout: Duration,
    first_event_seen: bool,
    text_bytes: usize,
    finish: Option<FinishReason>,
    usage: Option<Usage>,
    model: Option<String>,
    over: bool,
}

/// The pieces of an answer whose request was made at `began`.
pub(super) fn answer(events: Events, guard: Arc<Guard>, settings: &Settings, began: Instant) -> AnswerStream {
    let answer = Answer {
        events,
        guard,
        began,
        first_byte_timeout: settings.first_byte_timeout,
        idle_timeout: settings.idle_timeout,
        total_timeout: settings.total_timeout,
        first_event_seen: false,
        text_bytes: 0,
        finish: None,
        usage: None,
        model: None,
        over: false,
    };
    AnswerStream::new(stream::unfold(answer, |mut answer| async move {
        if answer.over {
            return None;
        }
        let piece = answer.next().await;
        answer.over = !matches!(piece, Ok(Piece::Text(_)));
        if answer.over {
            // Closes the connection now, not when the caller gets round to dropping us.
            answer.events = Box::pin(stream::empty());
        }
        let before_first_byte = answer.text_bytes == 0;
        Some((
            piece.map_err(|failure| AiError::new(failure, before_first_byte)),
            answer,
        ))
    }))
}

impl Answer {
    async fn next(&mut self) -> Result<Piece, Failure> {
        loop {
            let Some(mut chunk) = self.event().await? else {
                return self.end();
            };
            if let Some(error) = chunk.error.as_ref().filter(|error| !error.is_null()) {
                return Err(refusal::event(error));
            }
            self.usage = chunk.usage().or(self.usage);
            self.finish = self.finish.or(chunk.finish());
            if let Some(model) = chunk.take_model() {
                self.model = Some(model);
            }
            if let Some(text) = chunk.take_text() {
                if self.text_bytes + text.len() > MAX_TEXT_BYTES {
                    return Err(Failure::Protocol("an answer longer than our limit"));
                }
                self.text_bytes += text.len();
                return Ok(Piece::Text(text));
            }
        }
    }

    /// The next event; `None` when there are no more.
    async fn event(&mut self) -> Result<Option<Chunk>, Failure> {
        let now = Instant::now();
        let (waiting, limit, until) = if !self.first_event_seen {
            (
                Waiting::FirstByte,
                self.first_byte_timeout,
                self.began + self.first_byte_timeout,
            )
        } else if self.finish.is_some() {
            (Waiting::NextPiece, FAREWELL, now + FAREWELL)
        } else {
            (Waiting::NextPiece, self.idle_timeout, now + self.idle_timeout)
        };
        let end = self.began + self.total_timeout;
        let (waiting, limit, until) = if end < until {
            (Waiting::Total, self.total_timeout, end)
        } else {
            (waiting, limit, until)
        };
        // A slow drip always has something ready, so the total is checked apart from the wait.
        let event = if now >= end {
            None
        } else {
            tokio::time::timeout_at(until, self.events.next()).await.ok()
        };
        match event {
            Some(Some(Ok(chunk))) => {
                self.guard.taken();
                self.first_event_seen = true;
                Ok(Some(chunk))
            }
            Some(None) => Ok(None),
            Some(Some(Err(_))) => Err(Failure::Protocol("an event that cannot be read")),
            // The whole text is here; only the formalities are missing.
            None if self.finish.is_some() => Ok(None),
            None => Err(Failure::Timeout { waiting, limit }),
        }
    }

    fn end(&mut self) -> Result<Piece, Failure> {
        let reason = match (self.finish, self.guard.ending()) {
            (Some(reason), _) => reason,
            (None, Ending::Done) => FinishReason::Stop,
            (None, Ending::Failed(failure)) => return Err(failure),
            (None, Ending::Cut) => {
                return Err(Failure::Unavailable {
                    status: None,
                    retry_after: None,
                });
            }
        };
        Ok(Piece::Finished {
            reason,
            usage: self.usage,
            model: self.model.take(),
        })
    }
}
