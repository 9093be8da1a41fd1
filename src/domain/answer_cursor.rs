//! The cursor of one answer's stream: a position in the text, and whether its reader has seen the end.
//!
//! It names its answer, so that one of another answer is recognised, and the attempt that ended, so that an answer that is tried
//! again later goes on for a reader of its first end.

use std::fmt;
use std::str::FromStr;

use crate::MessageId;
use crate::answer::{Fence, InvalidCursor, Position};
use crate::message::{Message, MessageStatus};

/// A place in the stream of one answer, as text opaque to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerCursor {
    /// The answer; `None` in a cursor of an earlier release, which did not name it.
    answer: Option<MessageId>,
    position: Position,
    end: Option<AnswerEnd>,
}

/// The last event that a reader of an answer can have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerEnd {
    /// It was sent.
    Sent,
    /// It failed.
    Failed,
    /// It was deleted.
    Deleted,
}

/// Where a reader with a cursor goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumption {
    /// After this position.
    After(Position),
    /// Nowhere: it has seen the end.
    Ended,
    /// At the beginning: the cursor is of another answer, or from before a backup was restored.
    Unknown,
}

impl AnswerEnd {
    /// How an answer with this status has ended; `None` if it has not.
    pub const fn of(status: MessageStatus) -> Option<Self> {
        match status {
            MessageStatus::Sending => None,
            MessageStatus::Sent => Some(Self::Sent),
            MessageStatus::Error => Some(Self::Failed),
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "error",
            Self::Deleted => "deleted",
        }
    }
}

impl AnswerCursor {
    /// Of a reader that has received everything up to `position`.
    pub const fn at(answer: MessageId, position: Position) -> Self {
        Self {
            answer: Some(answer),
            position,
            end: None,
        }
    }

    /// Of a reader that has received the end, at `position`.
    pub const fn at_end(answer: MessageId, position: Position, end: AnswerEnd) -> Self {
        Self {
            end: Some(end),
            ..Self::at(answer, position)
        }
    }

    /// Where its reader goes on in `answer`, whose row was just read.
    pub fn resume<N>(&self, answer: &Message<N>) -> Resumption {
        let is_foreign = self.answer.is_some_and(|id| id != answer.id);
        if is_foreign || self.position.attempt > answer.attempt {
            return Resumption::Unknown;
        }
        // Of an answer without an attempt there is no text, but there may be a notice.
        let is_at_end = self.position.attempt == answer.attempt
            && (answer.attempt == Fence(0) || self.position.offset == answer.content.len() as u64);
        if is_at_end && self.end.is_some() && self.end == AnswerEnd::of(answer.status) {
            Resumption::Ended
        } else {
            Resumption::After(self.position)
        }
    }
}

/// `a`, the answer and a dot; the position; then a dot and how it ended, if its reader knows.
impl fmt::Display for AnswerCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(answer) = self.answer {
            write!(f, "a{answer}.")?;
        }
        write!(f, "{}", self.position)?;
        match self.end {
            Some(end) => write!(f, ".{}", end.word()),
            None => Ok(()),
        }
    }
}

impl FromStr for AnswerCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let Some(named) = text.strip_prefix('a') else {
            return Ok(Self {
                answer: None,
                position: text.parse()?,
                end: None,
            });
        };
        let (answer, rest) = named.split_once('.').ok_or(InvalidCursor)?;
        if answer.is_empty() || !answer.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidCursor);
        }
        let ends = [AnswerEnd::Sent, AnswerEnd::Failed, AnswerEnd::Deleted];
        let ended = rest.rsplit_once('.').and_then(|(position, word)| {
            let end = ends.into_iter().find(|end| end.word() == word)?;
            Some((position, end))
        });
        let (position, end) = ended.map_or((rest, None), |(position, end)| (position, Some(end)));
        Ok(Self {
            answer: Some(MessageId(answer.parse().map_err(|_| InvalidCursor)?)),
            position: position.parse()?,
            end,
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::answer::AttemptOffsets;
    use crate::message::Role;
    use crate::notice::Notice;
    use crate::{ConversationId, MessageId};

    const ANSWER: MessageId = MessageId(7);

    fn at(attempt: u32, offset: u64) -> Position {
        Position {
            attempt: Fence(attempt),
            offset,
        }
    }

    fn answer(status: MessageStatus, attempt: u32, content: &str) -> Message {
        Message {
            id: ANSWER,
            conversation_id: ConversationId(1),
            parent_id: None,
            role: Role::Assistant,
            content: content.to_owned(),
            attachments: Vec::new(),
            status,
            attempt: Fence(attempt),
            attempt_offsets: AttemptOffsets::default(),
            model: None,
            provider: None,
            finish_reason: None,
            usage: None,
            reasoning_tokens: None,
            latency_ms: None,
            ttft_ms: None,
            error_code: None,
            notice: None::<Notice>,
            files_used: None,
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_cursor_round_trips_and_anything_else_is_refused() {
        for (cursor, text) in [
            (AnswerCursor::at(ANSWER, at(2, 17)), "a7.2.17"),
            (AnswerCursor::at_end(ANSWER, at(2, 17), AnswerEnd::Sent), "a7.2.17.sent"),
            (
                AnswerCursor::at_end(ANSWER, Position::START, AnswerEnd::Failed),
                "a7.0.0.error",
            ),
            (
                AnswerCursor::at_end(ANSWER, at(1, 3), AnswerEnd::Deleted),
                "a7.1.3.deleted",
            ),
        ] {
            assert_eq!(cursor.to_string(), text);
            assert_eq!(text.parse(), Ok(cursor));
        }
        assert_eq!("2.17".parse::<AnswerCursor>().unwrap().to_string(), "2.17");
        for bad in [
            "",
            "a",
            "a7",
            "a7.",
            "a7.1",
            "a.1.2",
            "a-7.1.2",
            "ax.1.2",
            "a7.1.2.",
            "a7.1.2.done",
            "a7.1.2.sent.sent",
            "a7.1.sent",
            "2.17.sent",
            "1.2.3",
            "b7.1.2",
            "a99999999999999999999.1.2",
            "41_7-2.17",
            "c5.41",
        ] {
            assert_eq!(bad.parse::<AnswerCursor>(), Err(InvalidCursor), "{bad}");
        }
    }

    #[test]
    fn who_has_seen_the_end_has_nothing_to_come_back_for_and_who_has_not_gets_it_once() {
        let sent = answer(MessageStatus::Sent, 2, "Hello");
        let end = AnswerCursor::at_end(ANSWER, at(2, 5), AnswerEnd::Sent);
        assert_eq!(end.resume(&sent), Resumption::Ended);
        let last_chunk = AnswerCursor::at(ANSWER, at(2, 5));
        assert_eq!(last_chunk.resume(&sent), Resumption::After(at(2, 5)));
        let before_any_attempt = answer(MessageStatus::Error, 0, "");
        for position in [Position::START, Position::NOTICED] {
            let end = AnswerCursor::at_end(ANSWER, position, AnswerEnd::Failed);
            assert_eq!(end.resume(&before_any_attempt), Resumption::Ended);
            let seen = AnswerCursor::at(ANSWER, position);
            assert_eq!(seen.resume(&before_any_attempt), Resumption::After(position));
        }
    }

    #[test]
    fn an_answer_that_is_tried_again_goes_on_for_who_has_seen_its_failure() {
        let failed = AnswerCursor::at_end(ANSWER, at(1, 5), AnswerEnd::Failed);
        for tried in [
            answer(MessageStatus::Sending, 1, "Hello"),
            answer(MessageStatus::Sending, 2, "Hello wo"),
            answer(MessageStatus::Error, 2, "Hello"),
            answer(MessageStatus::Sent, 2, "Hello world"),
            answer(MessageStatus::Sent, 1, "Hello"),
        ] {
            assert_eq!(failed.resume(&tried), Resumption::After(at(1, 5)), "{tried:?}");
        }
    }

    #[test]
    fn a_cursor_of_another_answer_or_of_a_later_attempt_than_there_was_is_unknown() {
        let sent = answer(MessageStatus::Sent, 1, "Hello");
        let elsewhere = AnswerCursor::at_end(MessageId(8), at(1, 5), AnswerEnd::Sent);
        assert_eq!(elsewhere.resume(&sent), Resumption::Unknown);
        let later = AnswerCursor::at(ANSWER, at(2, 5));
        assert_eq!(later.resume(&sent), Resumption::Unknown);
        let of_an_earlier_release: AnswerCursor = "1.5".parse().unwrap();
        assert_eq!(of_an_earlier_release.resume(&sent), Resumption::After(at(1, 5)));
    }
}
