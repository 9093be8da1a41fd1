//! New messages: a user's message and its pending answer.

use crate::notice::Notice;
use crate::{ConversationId, MessageId};

/// The ids of a user's message and its pending answer that were just stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenTurn {
    /// The message that the user's message follows.
    pub parent: Option<MessageId>,
    /// The user's message.
    pub question: MessageId,
    /// The answer.
    pub answer: MessageId,
}

/// An answer that was just stored as pending.
#[derive(Debug, Clone, Copy)]
pub struct NewAnswer<'a> {
    /// Its conversation.
    pub conversation: ConversationId,
    /// The crisis notice to show beside it.
    pub notice: Option<&'a Notice>,
}

/// The message that a user's new message follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// The last message of the conversation.
    TheLast,
    /// The parent of this message of the same conversation, of which it is an edit.
    SameAs(MessageId),
}
