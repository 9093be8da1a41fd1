//! The events of a user's feed.

use std::sync::Arc;

use cura_domain::answer::Fence;
use cura_domain::conversation::Conversation;
use cura_domain::export::ReadyExport;
use cura_domain::message::{Message, Role};
use cura_domain::push_log::TestedPush;
use cura_domain::{ConversationId, FileId, MessageId};

use super::answer_event::AnswerEvent;
use crate::files::LinkedFile;

/// An event of a user's feed.
#[derive(Debug, Clone)]
pub enum UserEvent {
    /// A message was stored, as it was then.
    Message(Box<Message>),
    /// An event of an answer, including its end.
    Answer(MessageId, AnswerEvent),
    /// A conversation as it is now; `None` when it was deleted.
    Conversation(ConversationId, Option<Box<Conversation>>),
    /// The user has read the conversation up to this message.
    Read(ConversationId, MessageId),
    /// A side of the conversation types, or has stopped typing.
    Typing(ConversationId, Role, bool),
    /// An archive of all data can be downloaded.
    Export(ReadyExport),
    /// A test was pushed.
    Push(TestedPush),
    /// A file as it is now; `None` when it was deleted.
    Upload(FileId, Option<Box<LinkedFile>>),
    /// The cursor cannot be resumed: reload everything, and continue from the cursor of this event.
    Resync(Resync),
}

/// Why a cursor cannot be resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resync {
    /// It is older than the event log.
    TooOld,
    /// It is of another scope, or newer than the event log.
    Unknown,
}

/// An event, and the cursor after it.
#[derive(Debug, Clone)]
pub struct FeedItem {
    /// The event.
    pub event: UserEvent,
    /// The cursor after the event; `None` when the event does not move it.
    pub cursor: Option<Arc<str>>,
}

impl UserEvent {
    /// The typing event that this event implies: the assistant types while it answers.
    pub(super) fn typing(&self) -> Option<Self> {
        match self {
            Self::Answer(_, AnswerEvent::Ended { message, .. }) => {
                Some(Self::Typing(message.conversation_id, Role::Assistant, false))
            }
            Self::Message(message) if message.role == Role::Assistant && message.attempt == Fence(0) => {
                Some(Self::Typing(message.conversation_id, Role::Assistant, true))
            }
            _ => None,
        }
    }
}
