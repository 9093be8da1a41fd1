//! Messages of both sides of a conversation; an answer is a message of the assistant.

mod answer_result;
mod new;
mod text;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use self::answer_result::AnswerResult;
pub use self::new::{Follows, NewAnswer, WrittenTurn};
pub use self::text::{InvalidText, MAX_USER_CHARS, MessageText};
use crate::answer::{AttemptOffsets, Fence};
use crate::file::{LinkedFile, UsedFile};
use crate::notice::Notice;
use crate::stored_words::stored_words;
use crate::{ConversationId, MessageId};

stored_words!(
    /// The author of a message.
    Role {
        /// The user.
        User = "user",
        /// The model.
        Assistant = "assistant",
        /// Cura: instructions to the model.
        System = "system",
    }
);

stored_words!(
    /// The status of a message. Only `sending` ever changes.
    MessageStatus {
        /// An answer that is queued or being written.
        Sending = "sending",
        /// Final.
        Sent = "sent",
        /// Final, and failed: `metadata.error` has the reason.
        Error = "error",
    }
);

stored_words!(
    /// Why an answer ended.
    FinishReason {
        /// The model finished.
        Stop = "stop",
        /// The model's output limit was reached.
        Length = "length",
        /// The provider withheld the rest.
        ContentFilter = "content_filter",
        /// The user cancelled it.
        Cancelled = "cancelled",
    }
);

/// The tokens of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub input_tokens: i64,
    /// Tokens of the answer.
    pub output_tokens: i64,
    /// Whether these are estimates, because the provider reported none.
    pub estimated: bool,
}

/// A message of either side. On a user's message, the fields that only an answer has are empty.
///
/// `N` is its notice: a message that was just read has a [`StoredNotice`](crate::notice::StoredNotice), which may be
/// unreadable and has to be replaced ([`Self::map_notice`]) before the message is shown.
#[derive(Debug, Clone)]
pub struct Message<N = Notice> {
    /// The message.
    pub id: MessageId,
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// The message it answers or follows.
    pub parent_id: Option<MessageId>,
    /// Its author.
    pub role: Role,
    /// The text; of a running answer, the last checkpoint.
    pub content: String,
    /// The files of a user's message, in its order. Empty where they were not read.
    pub attachments: Vec<LinkedFile>,
    /// Its status.
    pub status: MessageStatus,
    /// The fence of the last attempt; 0 before the first.
    pub attempt: Fence,
    /// Where each attempt began.
    pub attempt_offsets: AttemptOffsets,
    /// The model that answered.
    pub model: Option<String>,
    /// The provider that answered.
    pub provider: Option<String>,
    /// Why the answer ended.
    pub finish_reason: Option<FinishReason>,
    /// The tokens of all attempts.
    pub usage: Option<Usage>,
    /// Those of the answer's tokens that the model spent on thoughts, which are not shown; estimated where the provider does
    /// not state them.
    pub reasoning_tokens: Option<i64>,
    /// From storing the question to the end of the answer, in milliseconds.
    pub latency_ms: Option<i64>,
    /// From storing the question to the first text of the answer, in milliseconds.
    pub ttft_ms: Option<i64>,
    /// Why the answer failed: a stable code.
    pub error_code: Option<String>,
    /// The crisis notice that is shown beside the answer.
    pub notice: Option<N>,
    /// How much of the files of its conversation the model was given, if there were any.
    pub files_used: Option<Vec<UsedFile>>,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
}

impl Message {
    /// A user's message that was just written.
    pub fn just_said(
        turn: &WrittenTurn,
        new: &NewAnswer<'_>,
        (content, attachments): (String, Vec<LinkedFile>),
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            parent_id: turn.parent,
            role: Role::User,
            content,
            attachments,
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
            attachments: Vec::new(),
            status: MessageStatus::Sending,
            attempt: Fence::default(),
            attempt_offsets: AttemptOffsets::default(),
            model: None,
            provider: None,
            finish_reason: None,
            usage: None,
            reasoning_tokens: None,
            latency_ms: None,
            ttft_ms: None,
            error_code: None,
            notice: None,
            files_used: None,
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
            attachments: self.attachments,
            status: self.status,
            attempt: self.attempt,
            attempt_offsets: self.attempt_offsets,
            model: self.model,
            provider: self.provider,
            finish_reason: self.finish_reason,
            usage: self.usage,
            reasoning_tokens: self.reasoning_tokens,
            latency_ms: self.latency_ms,
            ttft_ms: self.ttft_ms,
            error_code: self.error_code,
            notice: self.notice.map(map),
            files_used: self.files_used,
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

/// The size of a message's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextSize {
    /// The message.
    pub id: MessageId,
    /// Its author.
    pub role: Role,
    /// The UTF-8 bytes of its text.
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
