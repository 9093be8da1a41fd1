//! Events: what happened to a user, in the order in which it became true.

use crate::export::ReadyExport;
use crate::{ConversationId, MessageId};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message was said, or an answer asked for.
    Message(ConversationId, MessageId),
    /// An answer became final.
    Ended(ConversationId, MessageId),
    /// A conversation was made, changed or deleted.
    Conversation(ConversationId),
    /// The user has read as far as this message.
    Read(ConversationId, MessageId),
    /// An export can be downloaded.
    Export(ReadyExport),
    /// What a later version wrote down.
    Unknown,
}

impl Event {
    /// What became true when answers of a conversation became final: what the conversation is like now, and they. An answer's
    /// end is the last that is told of it.
    pub fn ends(conversation: ConversationId, answers: &[MessageId]) -> Vec<Self> {
        let ended = answers.iter().map(|answer| Self::Ended(conversation, *answer));
        std::iter::once(Self::Conversation(conversation)).chain(ended).collect()
    }

    /// The conversation it happened in, if it happened in one.
    pub const fn conversation(&self) -> Option<ConversationId> {
        match self {
            Self::Message(conversation, _)
            | Self::Ended(conversation, _)
            | Self::Conversation(conversation)
            | Self::Read(conversation, _) => Some(*conversation),
            Self::Export(_) | Self::Unknown => None,
        }
    }
}

/// An event and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Its number.
    pub seq: i64,
    /// What happened.
    pub event: Event,
}
