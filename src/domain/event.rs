//! The event log of a user: events in the order in which they became true, numbered without gaps.

use crate::export::ReadyExport;
use crate::push_log::TestedPush;
use crate::{ConversationId, FileId, MessageId};

/// An event. It holds ids; their rows are read when the event is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message of either side was stored; an answer still without text.
    Message(ConversationId, MessageId),
    /// An answer became final.
    Ended(ConversationId, MessageId),
    /// A conversation was created, changed or deleted.
    Conversation(ConversationId),
    /// The user has read the conversation up to this message.
    Read(ConversationId, MessageId),
    /// An export can be downloaded.
    Export(ReadyExport),
    /// A test was pushed.
    Push(TestedPush),
    /// A file was uploaded, changed or deleted.
    Upload(FileId),
    /// An event that this version does not know.
    Unknown,
}

impl Event {
    /// The events of answers of a conversation that became final: the changed conversation, then the end of each answer,
    /// which must be the last event about it.
    pub fn ends(conversation: ConversationId, answers: &[MessageId]) -> Vec<Self> {
        let ended = answers.iter().map(|answer| Self::Ended(conversation, *answer));
        std::iter::once(Self::Conversation(conversation)).chain(ended).collect()
    }

    /// Its conversation, if it has one.
    pub const fn conversation(&self) -> Option<ConversationId> {
        match self {
            Self::Message(conversation, _)
            | Self::Ended(conversation, _)
            | Self::Conversation(conversation)
            | Self::Read(conversation, _) => Some(*conversation),
            Self::Export(_) | Self::Push(_) | Self::Upload(_) | Self::Unknown => None,
        }
    }
}

/// An event and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Its number.
    pub seq: i64,
    /// The event.
    pub event: Event,
}
