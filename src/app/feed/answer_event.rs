//! The events of one answer.

use cura_domain::answer::{Fence, Position};
use cura_domain::message::Message;
use cura_domain::notice::Notice;

/// What a reader of an answer gets. Each event carries the reader's position after it.
#[derive(Debug, Clone)]
pub enum AnswerEvent {
    /// A crisis notice is to be shown beside the answer.
    Notice {
        /// The notice.
        notice: Notice,
        /// The reader's position.
        position: Position,
    },
    /// No worker has taken the answer yet.
    Queued {
        /// Its position in the queue, from 1.
        queue_position: i64,
        /// The reader's position.
        position: Position,
    },
    /// A worker began an attempt.
    Started {
        /// The number of the attempt, from 1.
        attempt: Fence,
        /// The reader's position.
        position: Position,
    },
    /// Text to append.
    Chunk {
        /// Where it belongs, in UTF-8 bytes.
        offset: u64,
        /// The text.
        content: String,
        /// The reader's position.
        position: Position,
    },
    /// Text to remove: a new attempt could not continue where the reader is.
    Reset {
        /// How many UTF-8 bytes stay.
        offset: u64,
        /// The reader's position.
        position: Position,
    },
    /// The answer was deleted while it was read: the last event.
    Gone {
        /// The reader's position.
        position: Position,
    },
    /// The answer is final, sent or failed: the last event.
    Ended {
        /// The final message.
        message: Box<Message>,
        /// The reader's position.
        position: Position,
    },
}

impl AnswerEvent {
    /// The reader's position after the event.
    pub const fn position(&self) -> Position {
        match self {
            Self::Notice { position, .. }
            | Self::Queued { position, .. }
            | Self::Started { position, .. }
            | Self::Chunk { position, .. }
            | Self::Reset { position, .. }
            | Self::Gone { position }
            | Self::Ended { position, .. } => *position,
        }
    }
}
