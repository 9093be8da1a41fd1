//! An answer that goes on where another ended: what was written already is cut from its beginning.

mod overlap;

use std::collections::VecDeque;

use futures_util::stream::{self, StreamExt};

use crate::ai::{AiError, AnswerStream, Piece};
pub(crate) use overlap::Overlap;

struct Continuing {
    pieces: AnswerStream,
    overlap: Overlap,
    ready: VecDeque<Piece>,
    begun: bool,
}

/// `pieces` without what `overlap` knows to be written already.
pub(crate) fn cut(pieces: AnswerStream, overlap: Overlap) -> AnswerStream {
    let continuing = Continuing {
        pieces,
        overlap,
        ready: VecDeque::new(),
        begun: false,
    };
    AnswerStream::new(stream::unfold(continuing, |mut continuing| async move {
        let piece = continuing.next().await?;
        Some((piece, continuing))
    }))
}

impl Continuing {
    async fn next(&mut self) -> Option<Result<Piece, AiError>> {
        while self.ready.is_empty() {
            match self.pieces.next().await? {
                Ok(Piece::Text(text)) => {
                    let text = self.overlap.push(text);
                    self.text(text);
                }
                Ok(end @ Piece::Finished { .. }) => {
                    let text = self.overlap.finish();
                    self.text(text);
                    self.ready.push_back(end);
                }
                // What is held is written already as far as anybody can tell: nothing is lost with it.
                Err(error) => return Some(Err(AiError::new(error.failure().clone(), !self.begun))),
            }
        }
        self.ready.pop_front().map(Ok)
    }

    fn text(&mut self, text: String) {
        if !text.is_empty() {
            self.begun = true;
            self.ready.push_back(Piece::Text(text));
        }
    }
}
