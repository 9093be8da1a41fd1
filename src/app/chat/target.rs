//! Where in a conversation an answer goes: found, locked, and cleared of unfinished answers as the busy policy says.

use chrono::{DateTime, Utc};
use cura_answers::{CancelMode, Finishing};
use cura_domain::conversation::{Title, TitleSource};
use cura_domain::message::{Follows, Message, MessageText, NewAnswer, Role};
use cura_domain::{ConversationId, MessageId};
use cura_store::conversations::LockedConversation;
use cura_store::{PgConnection, StoreError, conversations, messages};

use super::request::{BusyPolicy, RequestKind, StartAnswerError};
use crate::caller::Caller;
use crate::notices::Notices;

/// How many unfinished answers a conversation may have.
const MAX_UNFINISHED: usize = 20;

/// Where an answer goes, and the question that it replies to.
pub(super) struct AnswerTarget {
    pub(super) conversation: ConversationId,
    /// The unfinished answers there, by ascending id.
    pub(super) unfinished: Vec<MessageId>,
    /// Whether the conversation was made for this answer.
    pub(super) is_new: bool,
    /// Whether the conversation has no title yet, and gets one.
    pub(super) gets_title: bool,
    pub(super) question: Question,
}

/// The question that an answer replies to.
pub(super) enum Question {
    New { text: MessageText, follows: Follows },
    Existing(Box<Message>),
}

impl Question {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::New { text, .. } => text.as_str(),
            Self::Existing(message) => &message.content,
        }
    }

    pub(super) const fn is_new(&self) -> bool {
        matches!(self, Self::New { .. })
    }
}

/// Finds and locks the target of a request; creates the conversation if the request names none.
pub(super) async fn find(
    notices: &Notices,
    connection: &mut PgConnection,
    caller: Caller,
    request: &RequestKind,
    now: DateTime<Utc>,
) -> Result<AnswerTarget, StartAnswerError> {
    let (conversation, question) = match request {
        RequestKind::Send { conversation, text } => {
            let question = Question::New {
                text: text.clone(),
                follows: Follows::TheLast,
            };
            (*conversation, question)
        }
        RequestKind::Edit { message, text } => {
            let earlier = find_with_role(notices, connection, caller, *message, Role::User).await?;
            let question = Question::New {
                text: text.clone(),
                follows: Follows::SameAs(earlier.id),
            };
            (Some(earlier.conversation_id), question)
        }
        RequestKind::Regenerate { answer } => {
            let earlier = find_with_role(notices, connection, caller, *answer, Role::Assistant).await?;
            let question = earlier.parent_id.ok_or(StartAnswerError::MessageNotFound)?;
            let question = find_with_role(notices, connection, caller, question, Role::User).await?;
            (Some(question.conversation_id), Question::Existing(Box::new(question)))
        }
    };
    let Some(conversation) = conversation else {
        let title = Title::excerpt(question.text());
        let title = Some((&title, TitleSource::Excerpt));
        let id = conversations::insert(connection, caller.user, title, 2, now).await?;
        return Ok(AnswerTarget {
            conversation: id,
            unfinished: Vec::new(),
            is_new: true,
            gets_title: true,
            question,
        });
    };
    let LockedConversation { running, untitled } = conversations::lock_owned(connection, caller.user, conversation)
        .await?
        .ok_or(StartAnswerError::ConversationNotFound)?;
    Ok(AnswerTarget {
        conversation,
        unfinished: running,
        is_new: false,
        gets_title: untitled,
        question,
    })
}

impl AnswerTarget {
    /// Applies the busy policy to the unfinished answers.
    pub(super) async fn apply_busy_policy(
        &self,
        finishing: &mut Finishing<'_>,
        policy: BusyPolicy,
    ) -> Result<(), StartAnswerError> {
        let Some(first) = self.unfinished.first() else {
            return Ok(());
        };
        match policy {
            BusyPolicy::Queue if self.unfinished.len() < MAX_UNFINISHED => {}
            BusyPolicy::Queue => return Err(StartAnswerError::QueueFull { limit: MAX_UNFINISHED }),
            BusyPolicy::Reject => return Err(StartAnswerError::Busy { running: *first }),
            BusyPolicy::Interrupt => {
                finishing.cancel(&self.unfinished, CancelMode::Signal).await?;
                finishing.make_waiting_answers_ready().await?;
            }
        }
        Ok(())
    }

    /// Writes the question, if it is new, and the pending answer; returns both.
    pub(super) async fn write(
        &self,
        connection: &mut PgConnection,
        new: &NewAnswer<'_>,
        now: DateTime<Utc>,
    ) -> Result<(Message, Message), StoreError> {
        if !self.is_new {
            let title = Title::excerpt(self.question.text());
            let added = if self.question.is_new() { 2 } else { 1 };
            conversations::touch(connection, self.conversation, added, Some(title.as_str()), now).await?;
        }
        match &self.question {
            Question::New { text, follows } => {
                let turn = messages::insert_turn(connection, new, text.as_str(), *follows, now).await?;
                let question = Message::just_said(&turn, new, text.as_str().to_owned(), now);
                Ok((question, Message::just_asked(turn.answer, turn.question, new, now)))
            }
            Question::Existing(question) => {
                let answer = messages::insert_answer(connection, new, question.id, now).await?;
                let answer = Message::just_asked(answer, question.id, new, now);
                Ok(((**question).clone(), answer))
            }
        }
    }
}

/// A message of the caller that has this role.
async fn find_with_role(
    notices: &Notices,
    connection: &mut PgConnection,
    caller: Caller,
    id: MessageId,
    role: Role,
) -> Result<Message, StartAnswerError> {
    let found = messages::find_owned(connection, caller.user, id).await?;
    found
        .map(|message| notices.readable(message))
        .filter(|message| message.role == role)
        .ok_or(StartAnswerError::MessageNotFound)
}
