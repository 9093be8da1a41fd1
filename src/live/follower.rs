//! One reader of one answer: a view of the text and a position in it. Its memory does not grow, however slow it is:
//! what it has not taken yet is in the text all readers share.

use cura_domain::answer::{Fence, Position};
use tokio::sync::watch;

use crate::answers::Answer;
use crate::redis::Subscription;

/// What happened to an answer since the reader looked last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// An attempt began.
    Started {
        /// Which.
        attempt: Fence,
        /// Where the reader stands now; within the attempt before, if part of what it has is about to be reset.
        position: Position,
    },
    /// The attempt wrote anew what the reader has beyond `offset`.
    Reset {
        /// The attempt that did.
        attempt: Fence,
        /// How many bytes stay.
        offset: u64,
    },
    /// More text; of a slow reader, all that came meanwhile.
    Text {
        /// Where it belongs, in bytes.
        offset: u64,
        /// The text.
        content: String,
        /// Where the reader stands now.
        position: Position,
    },
    /// The answer is final: Postgres has it.
    Ended,
    /// The answer was forgotten: Postgres knows why, and whoever reads on follows it anew.
    Forgotten,
}

/// Reads one answer. Dropping it ends the reading.
pub struct Follower {
    answer: watch::Receiver<Answer>,
    position: Position,
    /// The last attempt whose beginning was told.
    told: Fence,
    ended: bool,
    _subscription: Option<Subscription>,
}

impl Follower {
    pub(crate) fn new(answer: watch::Receiver<Answer>, position: Position, subscription: Option<Subscription>) -> Self {
        Self {
            answer,
            position,
            told: position.attempt,
            ended: false,
            _subscription: subscription,
        }
    }

    /// What comes next; waits for it. After [`Progress::Ended`] it waits for ever, after [`Progress::Forgotten`] there is
    /// nothing else. Safe to cancel: nothing is lost.
    pub async fn next(&mut self) -> Progress {
        loop {
            if let Some(progress) = self.advance() {
                return progress;
            }
            if self.answer.changed().await.is_err() {
                return Progress::Forgotten;
            }
        }
    }

    fn advance(&mut self) -> Option<Progress> {
        let answer = self.answer.borrow_and_update();
        if answer.fence > self.told {
            self.told = answer.fence;
            if answer.bases.keep(self.position) == self.position.offset {
                self.position.attempt = answer.fence;
            }
            return Some(Progress::Started {
                attempt: answer.fence,
                position: self.position,
            });
        }
        if answer.fence > self.position.attempt {
            // Until this is told, the reader stands where it stood: whoever resumes from there is told again.
            self.position = Position {
                attempt: answer.fence,
                offset: answer.bases.keep(self.position),
            };
            return Some(Progress::Reset {
                attempt: self.position.attempt,
                offset: self.position.offset,
            });
        }
        let have = answer.text.len() as u64;
        if answer.fence == self.position.attempt && have > self.position.offset {
            let start = usize::try_from(self.position.offset).ok()?;
            let Some(content) = answer.text.get(start..) else {
                // No offset of ours: it lies inside a character.
                let offset = answer.text.floor_char_boundary(start) as u64;
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
        if answer.ended && !self.ended {
            self.ended = true;
            return Some(Progress::Ended);
        }
        None
    }
}
