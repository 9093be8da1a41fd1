//! An answer on its way, whoever sends it.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;

use crate::ai::{AiError, Piece};

/// The pieces of one answer, in order. Ends after `Piece::Finished` or the first error.
///
/// Pulls: the provider is read no faster than the pieces are taken. Dropping it closes the provider's connection.
pub struct AnswerStream(Pin<Box<dyn Stream<Item = Result<Piece, AiError>> + Send>>);

impl AnswerStream {
    pub(crate) fn new(pieces: impl Stream<Item = Result<Piece, AiError>> + Send + 'static) -> Self {
        Self(Box::pin(pieces))
    }
}

impl Stream for AnswerStream {
    type Item = Result<Piece, AiError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl std::fmt::Debug for AnswerStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AnswerStream")
    }
}
