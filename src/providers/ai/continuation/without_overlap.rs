//! A completion that continues an answer, without the text that it repeats.

use std::collections::VecDeque;

use futures_util::stream::{self, StreamExt};

use super::overlap::Overlap;
use crate::ai::completion::{CompletionEvent, CompletionStream};
use crate::ai::error::AiError;

struct Continuing {
    events: CompletionStream,
    overlap: Overlap,
    /// As it was at the beginning.
    unread: Overlap,
    ready: VecDeque<CompletionEvent>,
    text_sent: bool,
}

/// `events` without the text that `overlap` recognises as written already.
pub(crate) fn without_overlap(events: CompletionStream, overlap: Overlap) -> CompletionStream {
    let continuing = Continuing {
        events,
        unread: overlap.clone(),
        overlap,
        ready: VecDeque::new(),
        text_sent: false,
    };
    CompletionStream::new(stream::unfold(continuing, |mut continuing| async move {
        let event = continuing.next().await?;
        Some((event, continuing))
    }))
}

impl Continuing {
    async fn next(&mut self) -> Option<Result<CompletionEvent, AiError>> {
        while self.ready.is_empty() {
            match self.events.next().await? {
                Ok(CompletionEvent::Text(text)) => {
                    let text = self.overlap.push(text);
                    self.push_text(text);
                }
                Ok(CompletionEvent::TakenBack) => {
                    self.overlap = self.unread.clone().after_thought();
                    self.text_sent = false;
                    // Even if none was sent: what is continued may be a thought, too.
                    self.ready.push_back(CompletionEvent::TakenBack);
                }
                Ok(end @ CompletionEvent::Finished { .. }) => {
                    let text = self.overlap.finish();
                    self.push_text(text);
                    self.ready.push_back(end);
                }
                // Text that is still held back agrees with what is written: nothing is lost with it.
                Err(error) => return Some(Err(AiError::new(error.failure().clone(), !self.text_sent))),
            }
        }
        self.ready.pop_front().map(Ok)
    }

    fn push_text(&mut self, text: String) {
        if !text.is_empty() {
            self.text_sent = true;
            self.ready.push_back(CompletionEvent::Text(text));
        }
    }
}
