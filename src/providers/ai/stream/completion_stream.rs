//! From the events of a protocol to the events of a completion: what is text, when the answer has ended, and how long to
//! wait for it.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use cura_domain::answer::MAX_ANSWER_BYTES;
use cura_domain::message::{FinishReason, Usage};
use cura_domain::model_name;
use cura_domain::text::is_blank;
use futures_util::stream::{self, Stream, StreamExt};
use tokio::time::{Instant, Sleep, sleep_until};

use super::answer_end::{AnswerEnd, END_TIMEOUT};
use super::end_word::EndWord;
use super::said::Said;
use super::surrogates::{SurrogateJoiner, Wtf8Text};
use crate::ai::call::Call;
use crate::ai::completion::{CompletionEvent, CompletionStream};
use crate::ai::error::{AiError, Failure, TimeoutPhase};
use crate::ai::timeouts::Timeouts;

/// How much of a model's name is kept, in bytes.
const MAX_MODEL_BYTES: usize = 200;

/// One event of any protocol. Also an event without content shows that the model is at work.
#[derive(Debug, Default)]
pub(crate) struct ProtocolEvent {
    /// The next part of the text.
    pub(crate) text: Option<Wtf8Text>,
    /// Whether the text is that of a message, which may be all that was said until now.
    pub(crate) is_message: bool,
    /// Whether the text is what the model says instead of an answer, because it declines to give one.
    pub(crate) is_refusal: bool,
    /// Whether there are thoughts, which are no text.
    pub(crate) has_thoughts: bool,
    /// Why the text has ended.
    pub(crate) end_word: Option<EndWord>,
    /// Why nothing follows, after the text of this event.
    pub(crate) failure: Option<Failure>,
    /// Tokens of the prompt.
    pub(crate) input_tokens: Option<i64>,
    /// Tokens of the answer until now.
    pub(crate) output_tokens: Option<i64>,
    /// Tokens of thoughts until now, part of those of the answer.
    pub(crate) reasoning_tokens: Option<i64>,
    /// The model that answers.
    pub(crate) model: Option<String>,
    /// How many events before this one made no sense, and held no text.
    pub(crate) skipped: u32,
    /// Whether an event that was not understood came before this one: it may have been an error.
    pub(crate) is_after_unclear: bool,
    /// Whether this is the end marker. A stream that ends without one was interrupted.
    pub(crate) done: bool,
}

/// The events of one answer, as its protocol decodes them. They end with the proper end of the body; an error ends them, too.
pub(crate) type ProtocolEvents = Pin<Box<dyn Stream<Item = Result<ProtocolEvent, Failure>> + Send>>;

struct Reader {
    events: ProtocolEvents,
    started: Instant,
    timeouts: Timeouts,
    call: Call,
    first_event_seen: bool,
    /// Whether there were thoughts or tool calls.
    has_thoughts: bool,
    text_bytes: usize,
    has_visible_text: bool,
    said: Said,
    /// Whether nothing that makes the end sure came after an event that was not understood.
    is_unclear: bool,
    joiner: SurrogateJoiner,
    end: AnswerEnd,
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    reasoning_tokens: Option<i64>,
    model: Option<String>,
    /// The model as the provider names it.
    named: Option<String>,
    skipped: u32,
    unknown_word_logged: bool,
    failure: Option<Failure>,
    done: bool,
    ended: bool,
    /// Wakes up at a deadline, or before one.
    timer: Pin<Box<Sleep>>,
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
        has_thoughts: false,
        text_bytes: 0,
        has_visible_text: false,
        said: Said::default(),
        is_unclear: false,
        joiner: SurrogateJoiner::default(),
        end: AnswerEnd::new(),
        input_tokens: None,
        output_tokens: None,
        reasoning_tokens: None,
        model: None,
        named: None,
        skipped: 0,
        unknown_word_logged: false,
        failure: None,
        done: false,
        ended: false,
        timer: Box::pin(sleep_until(started + timeouts.first_byte)),
    };
    // Boxed: it is moved with every event.
    CompletionStream::new(stream::unfold(Box::new(reader), |mut reader| async move {
        if reader.ended {
            return None;
        }
        let event = reader.next().await;
        reader.ended = !matches!(event, Ok(CompletionEvent::Text(_)));
        if reader.ended {
            // Closes the connection now instead of when the caller drops the stream.
            reader.events = Box::pin(stream::empty());
            reader.log_skipped();
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
        loop {
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            if self.done {
                break;
            }
            let Read::Event(event) = self.read().await? else {
                break;
            };
            if let Some(text) = self.take(event) {
                return Ok(CompletionEvent::Text(text));
            }
        }
        self.finished()
    }

    /// Notes what an event says, and returns its text.
    fn take(&mut self, event: ProtocolEvent) -> Option<String> {
        self.done = event.done;
        self.skipped = self.skipped.saturating_add(event.skipped);
        // The last event may repeat what the first one reports of the prompt, or only the last one reports it.
        self.input_tokens = self.input_tokens.max(event.input_tokens);
        self.output_tokens = event.output_tokens.or(self.output_tokens);
        self.reasoning_tokens = event.reasoning_tokens.or(self.reasoning_tokens);
        // Most servers name it with each event.
        let named = event.model.filter(|named| self.named.as_ref() != Some(named));
        if let Some(named) = named {
            self.name_model(named);
        }
        self.call
            .update(self.model.as_deref(), self.input_tokens, self.output_tokens);
        let text = event.text.map(|text| self.joiner.push(text)).and_then(storable);
        let text = text.and_then(|text| self.said.add(text, event.is_message, event.end_word.is_some()));
        if event.is_refusal {
            self.call.is_declined();
        }
        self.has_visible_text |= text.as_deref().is_some_and(|text| !is_blank(text));
        let has_content = (text.is_some() && self.has_visible_text) || event.has_thoughts;
        self.is_unclear |= event.is_after_unclear;
        if text.is_some() || event.end_word.is_some() {
            self.is_unclear = false;
        }
        self.has_thoughts |= event.has_thoughts;
        let has_text = self.text_bytes > 0 || text.is_some();
        let reason = self.reason(event.end_word, has_text);
        self.end
            .note(reason, has_content, event.output_tokens.is_some(), Instant::now());
        self.failure = event.failure.or(self.failure.take());
        text.and_then(|text| self.bounded(text))
    }

    /// Notes the model as the provider names it.
    fn name_model(&mut self, named: String) {
        if let Some(model) = storable(named.clone()) {
            // Addresses of models may end with a key.
            let name = model.split(['?', '#']).next().unwrap_or_default();
            let mut model = model_name(name).into_owned();
            model.truncate(model.floor_char_boundary(MAX_MODEL_BYTES));
            self.model = Some(model);
        }
        self.named = Some(named);
    }

    /// The reason that an end word gives. One that speaks of a failure ends the answer with one.
    fn reason(&mut self, word: Option<EndWord>, has_text: bool) -> Option<FinishReason> {
        match word? {
            EndWord::Reason(reason) => Some(reason),
            EndWord::Failure => {
                self.failure = Some(Failure::Unavailable {
                    status: None,
                    retry_after: None,
                });
                None
            }
            EndWord::Unknown(word) => {
                if !std::mem::replace(&mut self.unknown_word_logged, true) {
                    tracing::warn!(request = ?self.call.key(), word, "the provider ended an answer with an unknown word");
                }
                if has_text {
                    return Some(FinishReason::Stop);
                }
                self.failure = Some(Failure::Protocol(
                    "an answer without text that ended for an unknown reason",
                ));
                None
            }
        }
    }

    /// Text within the limit of an answer. What would exceed it is cut off, and ends the answer.
    fn bounded(&mut self, mut text: String) -> Option<String> {
        let room = MAX_ANSWER_BYTES - self.text_bytes;
        if text.len() > room {
            text.truncate(text.floor_char_boundary(room));
            self.end.cut();
            self.failure = None;
            self.done = true;
        }
        self.text_bytes += text.len();
        (!text.is_empty()).then_some(text)
    }

    async fn read(&mut self) -> Result<Read, Failure> {
        let now = Instant::now();
        let (phase, limit, deadline) = self.deadline(now);
        // The stream of a slow provider always has an event ready, so the total is checked apart from the wait.
        let read = if now >= self.started + self.timeouts.total {
            None
        } else {
            self.next_before(deadline).await
        };
        match read {
            Some(Some(Ok(event))) => {
                self.first_event_seen = true;
                Ok(Read::Event(event))
            }
            Some(None) => Ok(Read::EndOfStream),
            // The whole text is here; only usage and end marker are missing.
            Some(Some(Err(_))) | None if self.end.deadline().is_some() => Ok(Read::EndOfStream),
            Some(Some(Err(failure))) => Err(failure),
            None => Err(Failure::Timeout { phase, limit }),
        }
    }

    /// The next of the protocol's events; `None` if it is not there at `deadline`.
    async fn next_before(&mut self, deadline: Instant) -> Option<Option<Result<ProtocolEvent, Failure>>> {
        poll_fn(|context| {
            if let Poll::Ready(event) = self.events.poll_next_unpin(context) {
                return Poll::Ready(Some(event));
            }
            // A timer that is set anew for each event costs more than one that wakes up too early now and then.
            if deadline < self.timer.deadline() {
                self.timer.as_mut().reset(deadline);
            }
            while self.timer.as_mut().poll(context).is_ready() {
                if self.timer.deadline() >= deadline {
                    return Poll::Ready(None);
                }
                self.timer.as_mut().reset(deadline);
            }
            Poll::Pending
        })
        .await
    }

    /// Until when to wait for the next event, and the limit that this follows from.
    fn deadline(&self, now: Instant) -> (TimeoutPhase, Duration, Instant) {
        let (phase, limit, deadline) = if !self.first_event_seen {
            let limit = self.timeouts.first_byte;
            (TimeoutPhase::FirstByte, limit, self.started + limit)
        } else if let Some(deadline) = self.end.deadline() {
            (TimeoutPhase::NextEvent, END_TIMEOUT, deadline)
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
        let reason = match self.end.reason() {
            _ if self.is_unclear && !self.end.is_sure() => {
                return Err(Failure::Protocol(
                    "an event that makes no sense, and no sure end behind it",
                ));
            }
            Some(reason) => reason,
            None if self.done => FinishReason::Stop,
            None if self.skipped > 0 => return Err(Failure::Protocol("events that make no sense, and no end")),
            None => {
                return Err(Failure::Unavailable {
                    status: None,
                    retry_after: None,
                });
            }
        };
        let has_thoughts = self.has_thoughts || self.reasoning_tokens.is_some_and(|tokens| tokens > 0);
        if self.end.reason() == Some(FinishReason::Stop) && !has_thoughts {
            self.call.is_whole();
        }
        Ok(CompletionEvent::Finished {
            reason,
            usage: self.usage(),
            reasoning_tokens: self.reasoning_tokens,
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

    /// Without a word of what was sent: it may be a person's.
    fn log_skipped(&self) {
        if self.skipped > 0 {
            let (request, skipped) = (self.call.key(), self.skipped);
            tracing::warn!(
                ?request,
                skipped,
                "the provider sent events that make no sense; they were skipped"
            );
        }
    }
}
