//! One reader of one answer: a view of the text and a position in it.
//!
//! A reader sees the text without gaps or repetitions. Its memory does not grow, however slow it is: what it has not read
//! yet stays in the text that all readers share.

use cura_domain::answer::{Fence, Position};
use tokio::sync::watch;

use crate::text::TextState;
use crate::watch_guard::Subscription;

/// What happened to an answer since the last call of [`Follower::next`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// An attempt began.
    Started {
        /// The new attempt.
        attempt: Fence,
        /// The reader's position now; still in the previous attempt if a [`Progress::Reset`] follows.
        position: Position,
    },
    /// The attempt rewrites the text from `offset` on: discard what lies beyond it.
    Reset {
        /// The attempt that rewrites.
        attempt: Fence,
        /// How many bytes remain valid.
        offset: u64,
    },
    /// More text. A slow reader gets everything that accumulated as one piece.
    Text {
        /// Where the piece begins, in bytes.
        offset: u64,
        /// The piece.
        content: String,
        /// The reader's position after it.
        position: Position,
    },
    /// The answer is final: Postgres has it.
    Ended,
    /// The text was deleted: Postgres says why. Follow the answer again to read on.
    Deleted,
}

/// Reads one answer until it is dropped.
pub struct Follower {
    state: watch::Receiver<TextState>,
    position: Position,
    /// The last attempt reported as [`Progress::Started`].
    announced: Fence,
    ended: bool,
    _subscription: Subscription,
}

impl Follower {
    pub(crate) fn new(state: watch::Receiver<TextState>, position: Position, subscription: Subscription) -> Self {
        Self {
            state,
            position,
            announced: position.attempt,
            ended: false,
            _subscription: subscription,
        }
    }

    /// Waits for the next progress. After [`Progress::Ended`] it waits for ever; after [`Progress::Deleted`] it gives
    /// nothing else. Cancel-safe.
    pub async fn next(&mut self) -> Progress {
        loop {
            if let Some(progress) = self.advance() {
                return progress;
            }
            if self.state.changed().await.is_err() {
                return Progress::Deleted;
            }
        }
    }

    fn advance(&mut self) -> Option<Progress> {
        let state = self.state.borrow_and_update();
        if state.fence > self.announced && !state.is_tombstone() {
            self.announced = state.fence;
            // The end before it, if there was one, was that of an answer that is retried.
            self.ended = false;
            if state.attempt_offsets.keep(self.position) == self.position.offset {
                self.position.attempt = state.fence;
            }
            return Some(Progress::Started {
                attempt: state.fence,
                position: self.position,
            });
        }
        if state.fence > self.position.attempt && !state.is_tombstone() {
            // Only now, not with `Started`: a reader that resumes in between must get this reset as well.
            self.position = Position {
                attempt: state.fence,
                offset: state.attempt_offsets.keep(self.position),
            };
            return Some(Progress::Reset {
                attempt: self.position.attempt,
                offset: self.position.offset,
            });
        }
        let have = state.text.len() as u64;
        if state.fence == self.position.attempt && have > self.position.offset {
            let start = usize::try_from(self.position.offset).ok()?;
            let Some(content) = state.text.get(start..) else {
                // The cursor was not issued by us: it points inside a character.
                let offset = state.text.floor_char_boundary(start) as u64;
                self.position.offset = offset;
                return Some(Progress::Reset {
                    attempt: self.position.attempt,
                    offset,
                });
            };
            let offset = std::mem::replace(&mut self.position.offset, have);
            return Some(Progress::Text {
                offset,
                content: content.to_owned(),
                position: self.position,
            });
        }
        if state.ended.is_some() && !self.ended {
            self.ended = true;
            return Some(Progress::Ended);
        }
        None
    }
}
