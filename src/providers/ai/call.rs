//! One call, as its caller keeps it.

use cura_domain::{ConversationId, MessageId};

/// What a model is asked for. What fails for one asker again and again says little about others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// This answer.
    Answer(MessageId),
    /// A title of this conversation.
    Title(ConversationId),
    /// A summary of what was said up to this message.
    Summary(MessageId),
}
