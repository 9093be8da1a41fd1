//! From the events of a protocol to the events of a completion: what is text, when the answer has ended, and how long to
//! wait for it.

use std::pin::Pin;
use std::time::Duration;

use cura_domain::answer::MAX_ANSWER_BYTES;
use cura_domain::message::{FinishReason, Usage};
use futures_util::stream::{self, Stream, StreamExt};
use tokio::time::Instant;

use super::surrogates::{SurrogateJoiner, Wtf8Text};
use crate::ai::call::Call;
use crate::ai::completion::{CompletionEvent, CompletionStream};
use crate::ai::error::{AiError, Failure, TimeoutPhase};
use crate::ai::timeouts::Timeouts;

/// How much of a model's name is kept, in bytes.
const MAX_MODEL_BYTES: usize = 200;
/// How long a finished answer waits for its usage and its end marker.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// One event of any protocol. Also an event without content shows that the model is at work.
#[derive(Debug, Default)]
pub(crate) struct ProtocolEvent {
    /// The next part of the text.
    pub(crate) text: Option<Wtf8Text>,
    /// Why the text has ended.
    pub(crate) finish: Option<FinishReason>,
    /// Tokens of the prompt.
    pub(crate) input_tokens: Option<i64>,
    /// Tokens of the answer until now.
    pub(crate) output_tokens: Option<i64>,
    /// The model that answers.
    pub(crate) model: Option<String>,
    /// Whether this is the end marker. A stream that ends without one was interrupted.
    pub(crate) done: bool,
}

/// The events of one answer, as its protocol decodes them.
pub(crate) type ProtocolEvents = Pin<Box<dyn Stream<Item = Result<ProtocolEvent, Failure>> + Send>>;

struct Reader {
    events: ProtocolEvents,
    started: Instant,
    timeouts: Timeouts,
    call: Call,
    first_event_seen: bool,
    text_bytes: usize,
    joiner: SurrogateJoiner,
    finish: Option<FinishReason>,
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    model: Option<String>,
    done: bool,
    ended: bool,
}

/// The completion whose request was sent at `started`. What the provider reports beside the text goes to `call`, too.
pub(crate) fn completion_stream(
    events: ProtocolEvents,
    timeouts: Timeouts,
    started: Instant,
    call: Call,
) -> CompletionStream {
    let reader = Reader {
        events,
        started,
        timeouts,
        call,
        first_event_seen: false,
        text_bytes: 0,
        joiner: SurrogateJoiner::default(),
        finish: None,
        input_tokens: None,
        output_tokens: None,
        model: None,
        done: false,
        ended: false,
    };
    CompletionStream::new(stream::unfold(reader, |mut reader| async move {
        if reader.ended {
            return None;
        }
        let event = reader.next().await;
        reader.ended = !matches!(event, Ok(CompletionEvent::Text(_)));
        if reader.ended {
            // Closes the connection now instead of when the caller drops the stream.
            reader.events = Box::pin(stream::empty());
        }
        let before_first_byte = reader.text_bytes == 0;
        Some((
            event.map_err(|failure| AiError::new(failure, before_first_byte)),
            reader,
        ))
    }))
}

/// Text without NUL, which Postgres cannot store; `None` when nothing is left.
fn storable(mut text: String) -> Option<String> {
    text.retain(|c| c != '\0');
    (!text.is_empty()).then_some(text)
}

/// What a read of the protocol's events can end with.
enum Read {
    Event(ProtocolEvent),
    EndOfStream,
}

impl Reader {
    async fn next(&mut self) -> Result<CompletionEvent, Failure> {
        while !self.done {
            let Read::Event(event) = self.read().await? else {
                break;
            };
            self.done = event.done;
            // The last event may repeat what the first one reports of the prompt, or only the last one reports it.
            self.input_tokens = self.input_tokens.max(event.input_tokens);
            self.output_tokens = event.output_tokens.or(self.output_tokens);
            self.finish = self.finish.or(event.finish);
            if let Some(mut model) = event.model.and_then(storable) {
                model.truncate(model.floor_char_boundary(MAX_MODEL_BYTES));
                self.model = Some(model);
            }
            self.call
                .update(self.model.as_deref(), self.input_tokens, self.output_tokens);
            if let Some(text) = event.text.map(|text| self.joiner.push(text)).and_then(storable) {
                if self.text_bytes + text.len() > MAX_ANSWER_BYTES {
                    return Err(Failure::Protocol("an answer longer than our limit"));
                }
                self.text_bytes += text.len();
                return Ok(CompletionEvent::Text(text));
            }
        }
        self.finished()
    }

    async fn read(&mut self) -> Result<Read, Failure> {
        let now = Instant::now();
        let (phase, limit, deadline) = self.deadline(now);
        // The stream of a slow provider always has an event ready, so the total is checked apart from the wait.
        let read = if now >= self.started + self.timeouts.total {
            None
        } else {
            tokio::time::timeout_at(deadline, self.events.next()).await.ok()
        };
        match read {
            Some(Some(Ok(event))) => {
                self.first_event_seen = true;
                Ok(Read::Event(event))
            }
            Some(None) => Ok(Read::EndOfStream),
            // The whole text is here; only usage and end marker are missing.
            Some(Some(Err(_))) | None if self.finish.is_some() => Ok(Read::EndOfStream),
            Some(Some(Err(failure))) => Err(failure),
            None => Err(Failure::Timeout { phase, limit }),
        }
    }

    /// Until when to wait for the next event, and the limit that this follows from.
    fn deadline(&self, now: Instant) -> (TimeoutPhase, Duration, Instant) {
        let (phase, limit, deadline) = if !self.first_event_seen {
            let limit = self.timeouts.first_byte;
            (TimeoutPhase::FirstByte, limit, self.started + limit)
        } else if self.finish.is_some() {
            (TimeoutPhase::NextEvent, END_TIMEOUT, now + END_TIMEOUT)
        } else {
            (TimeoutPhase::NextEvent, self.timeouts.idle, now + self.timeouts.idle)
        };
        let total = self.started + self.timeouts.total;
        if total < deadline {
            (TimeoutPhase::Total, self.timeouts.total, total)
        } else {
            (phase, limit, deadline)
        }
    }

    fn finished(&mut self) -> Result<CompletionEvent, Failure> {
        let reason = match self.finish {
            Some(reason) => reason,
            None if self.done => FinishReason::Stop,
            None => {
                return Err(Failure::Unavailable {
                    status: None,
                    retry_after: None,
                });
            }
        };
        Ok(CompletionEvent::Finished {
            reason,
            usage: self.usage(),
            model: self.model.take(),
        })
    }

    /// What the answer cost, if the provider reported both parts of it.
    fn usage(&self) -> Option<Usage> {
        Some(Usage {
            input_tokens: self.input_tokens?,
            output_tokens: self.output_tokens?,
            estimated: false,
        })
    }
}
