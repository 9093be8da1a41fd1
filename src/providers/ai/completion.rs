//! An answer while it is being received: its events, in order.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use cura_domain::ModelRef;
use cura_domain::message::{FinishReason, Usage};
use futures_util::Stream;

use super::error::AiError;

/// An event of a completion: any number of `Text` and `TakenBack`, then exactly one `Finished`, or an error instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompletionEvent {
    /// The next part of the text; never empty.
    Text(String),
    /// All text of this completion until now was none: its reader forgets it. Other text follows.
    TakenBack,
    /// The answer is complete; nothing follows.
    Finished {
        /// Why it ended.
        reason: FinishReason,
        /// What it cost, if the provider stated it; the caller estimates otherwise.
        usage: Option<Usage>,
        /// The tokens that the model spent on thoughts: as the provider stated them, else an estimate of the thoughts that
        /// were taken out of the text. Part of the tokens of the answer.
        reasoning_tokens: Option<i64>,
        /// The model that answered, by the name that the provider gives it.
        model: Option<String>,
    },
}

/// A completion whose first event has arrived.
#[derive(Debug)]
pub struct OpenCompletion {
    /// All events, the first included.
    pub events: CompletionStream,
    /// The backend that answers, with the model that was asked for.
    pub model: ModelRef,
}

/// The events of one completion, in order. Ends after [`CompletionEvent::Finished`] or the first error.
///
/// The provider is read no faster than the events are taken. Dropping the stream closes the provider's connection.
pub struct CompletionStream(Pin<Box<dyn Stream<Item = Result<CompletionEvent, AiError>> + Send>>);

impl CompletionStream {
    pub(crate) fn new(events: impl Stream<Item = Result<CompletionEvent, AiError>> + Send + 'static) -> Self {
        Self(Box::pin(events))
    }
}

impl Stream for CompletionStream {
    type Item = Result<CompletionEvent, AiError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for CompletionStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CompletionStream")
    }
}
