//! Messages that are about to be stored: a user's message and its pending answer.

use crate::notice::Notice;
use crate::{ConversationId, MessageId, UserId};

/// A user's message and its pending answer, as they were just written.
#[derive(Debug, Clone, Copy)]
pub struct WrittenTurn {
    /// What the user's message follows.
    pub parent: Option<MessageId>,
    /// The user's message.
    pub question: MessageId,
    /// The answer.
    pub answer: MessageId,
}

/// An answer that is about to be asked for.
#[derive(Debug, Clone, Copy)]
pub struct NewAnswer<'a> {
    /// Who asks.
    pub user: UserId,
    /// Where.
    pub conversation: ConversationId,
    /// What it may cost.
    pub reserved_tokens: i64,
    /// What is shown beside it.
    pub notice: Option<&'a Notice>,
}

/// What a user's new message follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// The last message of the conversation.
    TheLast,
    /// What this message of the same conversation follows: it is said anew.
    SameAs(MessageId),
}
