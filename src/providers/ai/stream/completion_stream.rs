//! From what a provider says to pieces: what counts as an answer, and when to stop waiting for it.

use std::pin::Pin;
use std::time::Duration;

use cura_domain::message::{FinishReason, Usage};
use futures_util::stream::{self, Stream, StreamExt};
use serde_json::Value;
use tokio::time::Instant;

use super::surrogates::{SurrogateJoiner, Wtf8Text};
use crate::ai::call::Call;
use crate::ai::completion::{CompletionEvent, CompletionStream};
use crate::ai::error::{AiError, Failure, TimeoutPhase};
use crate::ai::timeouts::Timeouts;

/// The longest answer we take, in bytes of text.
const MAX_TEXT_BYTES: usize = 1024 * 1024;
/// The longest name of a model that is kept, in bytes.
const MAX_MODEL_BYTES: usize = 200;
/// More tokens than any model takes or gives: a count beyond it is nonsense.
const MAX_TOKENS: i64 = 100_000_000;

/// How long a finished answer waits for its usage and its end marker.
const FAREWELL: Duration = Duration::from_secs(2);

/// What one event of any dialect says. One that says nothing still shows that the model is at work.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    /// More of the text.
    pub(crate) text: Option<Wtf8Text>,
    /// Why the text has ended.
    pub(crate) finish: Option<FinishReason>,
    /// Tokens of the prompt.
    pub(crate) input_tokens: Option<i64>,
    /// Tokens of the answer until now.
    pub(crate) output_tokens: Option<i64>,
    /// Which model answers.
    pub(crate) model: Option<String>,
    /// Whether this is the proper end. A stream that ends without it was cut.
    pub(crate) done: bool,
}

/// An answer as a dialect reads it.
pub(crate) type Signals = Pin<Box<dyn Stream<Item = Result<Signal, Failure>> + Send>>;

struct Answer {
    signals: Signals,
    began: Instant,
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
    over: bool,
}

/// The pieces of an answer whose request was made at `began`; what is stated of it goes to `call`, too.
pub(crate) fn answer(signals: Signals, timeouts: Timeouts, began: Instant, call: Call) -> CompletionStream {
    let answer = Answer {
        signals,
        began,
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
        over: false,
    };
    CompletionStream::new(stream::unfold(answer, |mut answer| async move {
        if answer.over {
            return None;
        }
        let piece = answer.next().await;
        answer.over = !matches!(piece, Ok(CompletionEvent::Text(_)));
        if answer.over {
            // Closes the connection now, not when the caller gets round to dropping us.
            answer.signals = Box::pin(stream::empty());
        }
        let before_first_byte = answer.text_bytes == 0;
        Some((
            piece.map_err(|failure| AiError::new(failure, before_first_byte)),
            answer,
        ))
    }))
}

/// Text without NUL, which Postgres cannot store and nobody can read; `None` when nothing is left.
fn storable(mut text: String) -> Option<String> {
    text.retain(|c| c != '\0');
    (!text.is_empty()).then_some(text)
}

/// A number of tokens in what a provider says of them; `None` when there is none that can be read and be true.
pub(crate) fn count(usage: &Value, key: &str) -> Option<i64> {
    let count = usage.get(key).and_then(Value::as_i64);
    count.filter(|count| (0..=MAX_TOKENS).contains(count))
}

impl Answer {
    async fn next(&mut self) -> Result<CompletionEvent, Failure> {
        while !self.done {
            let Some(signal) = self.signal().await? else {
                break;
            };
            self.done = signal.done;
            // The end may repeat what the beginning said of the prompt, or say it only then.
            self.input_tokens = self.input_tokens.max(signal.input_tokens);
            self.output_tokens = signal.output_tokens.or(self.output_tokens);
            self.finish = self.finish.or(signal.finish);
            if let Some(mut model) = signal.model.and_then(storable) {
                model.truncate(model.floor_char_boundary(MAX_MODEL_BYTES));
                self.model = Some(model);
            }
            self.call
                .update(self.model.as_deref(), self.input_tokens, self.output_tokens);
            if let Some(text) = signal.text.map(|text| self.joiner.push(text)).and_then(storable) {
                if self.text_bytes + text.len() > MAX_TEXT_BYTES {
                    return Err(Failure::Protocol("an answer longer than our limit"));
                }
                self.text_bytes += text.len();
                return Ok(CompletionEvent::Text(text));
            }
        }
        self.end()
    }

    /// The next signal; `None` when there are no more.
    async fn signal(&mut self) -> Result<Option<Signal>, Failure> {
        let now = Instant::now();
        let (phase, limit, until) = if !self.first_event_seen {
            let limit = self.timeouts.first_byte;
            (TimeoutPhase::FirstByte, limit, self.began + limit)
        } else if self.finish.is_some() {
            (TimeoutPhase::NextEvent, FAREWELL, now + FAREWELL)
        } else {
            (TimeoutPhase::NextEvent, self.timeouts.idle, now + self.timeouts.idle)
        };
        let end = self.began + self.timeouts.total;
        let (phase, limit, until) = if end < until {
            (TimeoutPhase::Total, self.timeouts.total, end)
        } else {
            (phase, limit, until)
        };
        // A slow drip always has something ready, so the total is checked apart from the wait.
        let signal = if now >= end {
            None
        } else {
            tokio::time::timeout_at(until, self.signals.next()).await.ok()
        };
        match signal {
            Some(Some(Ok(signal))) => {
                self.first_event_seen = true;
                Ok(Some(signal))
            }
            Some(None) => Ok(None),
            // The whole text is here; only the formalities are missing.
            Some(Some(Err(_))) | None if self.finish.is_some() => Ok(None),
            Some(Some(Err(failure))) => Err(failure),
            None => Err(Failure::Timeout { phase, limit }),
        }
    }

    fn end(&mut self) -> Result<CompletionEvent, Failure> {
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

    /// What the answer cost, if both halves of it were stated.
    fn usage(&self) -> Option<Usage> {
        Some(Usage {
            input_tokens: self.input_tokens?,
            output_tokens: self.output_tokens?,
            estimated: false,
        })
    }
}
