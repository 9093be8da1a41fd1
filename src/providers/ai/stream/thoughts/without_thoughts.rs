//! A completion without the thoughts inside its text.

use std::collections::VecDeque;

use cura_domain::token_estimate;
use futures_util::stream::{self, StreamExt};

use super::filter::Filter;
use super::shown::Piece;
use crate::ai::call::Call;
use crate::ai::completion::{CompletionEvent, CompletionStream};
use crate::ai::error::AiError;

struct Thinking {
    events: CompletionStream,
    filter: Filter,
    call: Call,
    ready: VecDeque<CompletionEvent>,
    /// Whether text of this completion was given, and not taken back.
    text_given: bool,
}

/// `events`, which continue `written`, without the thoughts inside their text; how much was taken out goes to `call`, too.
pub(crate) fn without_thoughts(events: CompletionStream, written: &str, call: &Call) -> CompletionStream {
    let thinking = Thinking {
        events,
        filter: Filter::new(written),
        call: call.clone(),
        ready: VecDeque::new(),
        text_given: false,
    };
    CompletionStream::new(stream::unfold(Box::new(thinking), |mut thinking| async move {
        let event = thinking.next().await?;
        Some((event, thinking))
    }))
}

impl Thinking {
    async fn next(&mut self) -> Option<Result<CompletionEvent, AiError>> {
        while self.ready.is_empty() {
            match self.events.next().await? {
                Ok(CompletionEvent::Text(text)) if self.filter.passes(&text) => {
                    self.text_given = true;
                    return Some(Ok(CompletionEvent::Text(text)));
                }
                Ok(CompletionEvent::Text(part)) => {
                    let pieces = self.filter.push(&part);
                    self.push(pieces);
                }
                Ok(CompletionEvent::TakenBack) => self.push(vec![Piece::TakenBack]),
                Ok(CompletionEvent::Finished {
                    reason,
                    usage,
                    reasoning_tokens,
                    model,
                }) => {
                    let pieces = self.filter.finish();
                    self.push(pieces);
                    self.ready.push_back(CompletionEvent::Finished {
                        reason,
                        usage,
                        reasoning_tokens: reasoning_tokens.filter(|tokens| *tokens > 0).or(self.estimate()),
                        model,
                    });
                }
                Err(error) => return Some(Err(AiError::new(error.failure().clone(), !self.text_given))),
            }
        }
        self.ready.pop_front().map(Ok)
    }

    fn push(&mut self, pieces: Vec<Piece>) {
        self.call.note_thoughts(self.filter.thoughts());
        for piece in pieces {
            self.text_given = matches!(piece, Piece::Text(_));
            self.ready.push_back(match piece {
                Piece::Text(text) => CompletionEvent::Text(text),
                Piece::TakenBack => CompletionEvent::TakenBack,
            });
        }
    }

    /// The tokens of the thoughts that were taken out, if there were any.
    fn estimate(&self) -> Option<i64> {
        let thoughts = self.filter.thoughts();
        (thoughts > 0).then(|| i64::try_from(token_estimate::estimate(thoughts)).unwrap_or(i64::MAX))
    }
}
