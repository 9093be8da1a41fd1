//! Messages: what was said, by whom, and how far an answer has come.

mod answer_result;
mod new;
mod text;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use self::answer_result::AnswerResult;
pub use self::new::{Follows, NewAnswer, WrittenTurn};
pub use self::text::{InvalidText, MAX_USER_CHARS, MessageText};
use crate::answer::{AttemptOffsets, Fence};
use crate::notice::Notice;
use crate::stored_words::stored_words;
use crate::{ConversationId, MessageId};

stored_words!(
    /// Who speaks.
    Role {
        /// The person.
        User = "user",
        /// The model.
        Assistant = "assistant",
        /// Cura itself, to the model.
        System = "system",
    }
);

stored_words!(
    /// How far a message has come. Only `sending` ever changes.
    MessageStatus {
        /// An answer that is queued or being written.
        Sending = "sending",
        /// Final.
        Sent = "sent",
        /// Final, and failed: `metadata.error` says why.
        Error = "error",
    }
);

stored_words!(
    /// Why an answer ended.
    FinishReason {
        /// The model was done.
        Stop = "stop",
        /// The model's output limit was reached.
        Length = "length",
        /// The provider withheld the rest.
        ContentFilter = "content_filter",
        /// The user stopped it.
        Cancelled = "cancelled",
    }
);

/// Tokens an answer cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub input_tokens: i64,
    /// Tokens of the answer.
    pub output_tokens: i64,
    /// Whether these are our estimate, because the provider did not say.
    pub estimated: bool,
}

/// A message of either side. What only an answer has is empty on a user's message.
///
/// `N` is its notice: a message that was just read has a [`StoredNotice`](crate::notice::StoredNotice), which may be
/// unreadable and has to be replaced ([`Self::map_notice`]) before the message is shown.
#[derive(Debug, Clone)]
pub struct Message<N = Notice> {
    /// The message.
    pub id: MessageId,
    /// Where it was said.
    pub conversation_id: ConversationId,
    /// What it answers or follows.
    pub parent_id: Option<MessageId>,
    /// Who speaks.
    pub role: Role,
    /// The text; of a running answer, what was saved of it so far.
    pub content: String,
    /// How far it has come.
    pub status: MessageStatus,
    /// The attempt that may write; 0 before the first.
    pub attempt: Fence,
    /// Where each attempt began.
    pub attempt_offsets: AttemptOffsets,
    /// The model that answered.
    pub model: Option<String>,
    /// The provider that answered.
    pub provider: Option<String>,
    /// Why the answer ended.
    pub finish_reason: Option<FinishReason>,
    /// What the answer cost.
    pub usage: Option<Usage>,
    /// From the question stored to the answer complete, in milliseconds.
    pub latency_ms: Option<i64>,
    /// From the question stored to the first text, in milliseconds.
    pub ttft_ms: Option<i64>,
    /// Why the answer failed: a stable machine word.
    pub error_code: Option<String>,
    /// The crisis notice that is shown beside the answer.
    pub notice: Option<N>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl Message {
    /// A user's message that was just written.
    pub fn just_said(turn: &WrittenTurn, new: &NewAnswer<'_>, content: String, now: DateTime<Utc>) -> Self {
        Self {
            parent_id: turn.parent,
            role: Role::User,
            content,
            status: MessageStatus::Sent,
            ..Self::empty(turn.question, new.conversation, now)
        }
    }

    /// An answer that was just queued.
    pub fn just_asked(answer: MessageId, question: MessageId, new: &NewAnswer<'_>, now: DateTime<Utc>) -> Self {
        Self {
            parent_id: Some(question),
            notice: new.notice.cloned(),
            ..Self::empty(answer, new.conversation, now)
        }
    }

    /// The answer as it was when it was asked for.
    pub fn as_asked(&self) -> Self {
        Self {
            parent_id: self.parent_id,
            notice: self.notice.clone(),
            ..Self::empty(self.id, self.conversation_id, self.created_at)
        }
    }

    /// An answer of which nothing is known yet.
    fn empty(id: MessageId, conversation: ConversationId, created_at: DateTime<Utc>) -> Self {
        Self {
            id,
            conversation_id: conversation,
            parent_id: None,
            role: Role::Assistant,
            content: String::new(),
            status: MessageStatus::Sending,
            attempt: Fence::default(),
            attempt_offsets: AttemptOffsets::default(),
            model: None,
            provider: None,
            finish_reason: None,
            usage: None,
            latency_ms: None,
            ttft_ms: None,
            error_code: None,
            notice: None,
            created_at,
        }
    }
}

impl<N> Message<N> {
    /// The same message with another notice, if it has one.
    pub fn map_notice<M>(self, map: impl FnOnce(N) -> M) -> Message<M> {
        Message {
            id: self.id,
            conversation_id: self.conversation_id,
            parent_id: self.parent_id,
            role: self.role,
            content: self.content,
            status: self.status,
            attempt: self.attempt,
            attempt_offsets: self.attempt_offsets,
            model: self.model,
            provider: self.provider,
            finish_reason: self.finish_reason,
            usage: self.usage,
            latency_ms: self.latency_ms,
            ttft_ms: self.ttft_ms,
            error_code: self.error_code,
            notice: self.notice.map(map),
            created_at: self.created_at,
        }
    }
}

/// The order of a list of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

/// How long a message's text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextSize {
    /// The message.
    pub id: MessageId,
    /// Whose it is.
    pub role: Role,
    /// UTF-8 bytes of its text.
    pub bytes: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for status in [MessageStatus::Sending, MessageStatus::Sent, MessageStatus::Error] {
            assert_eq!(MessageStatus::from_word(status.as_str()), Some(status));
        }
        assert_eq!(Role::from_word("tool"), None);
    }
}
