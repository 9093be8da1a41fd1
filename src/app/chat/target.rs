//! Where in a conversation an answer goes, and the question that it replies to.

use cura_domain::message::{Follows, Message, MessageText, Role};
use cura_domain::{ConversationId, MessageId};
use cura_store::Database;

use super::question_files::WantedFiles;
use super::request::{RequestKind, StartAnswerError};
use crate::caller::Caller;
use crate::messages::Messages;

/// Where an answer goes, and the question that it replies to.
pub(super) struct AnswerTarget {
    /// The conversation; `None` makes one.
    pub(super) conversation: Option<ConversationId>,
    pub(super) question: Question,
    /// The files that a new question is to have.
    pub(super) files: WantedFiles,
}

/// The question that an answer replies to.
pub(super) enum Question {
    New { text: MessageText, follows: Follows },
    Existing(Box<Message>),
}

impl Question {
    /// Whether it is new, and without text.
    pub(super) fn is_blank(&self) -> bool {
        matches!(self, Self::New { text, .. } if text.is_blank())
    }

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

impl AnswerTarget {
    /// Finds the target of a request. Asks the database only for a message that the request names; its conversation, which
    /// never changes, is looked up when the answer is stored.
    pub(super) async fn find(
        database: &Database,
        messages: &Messages,
        caller: Caller,
        request: &RequestKind,
    ) -> Result<Self, StartAnswerError> {
        Ok(match request {
            RequestKind::Send {
                conversation,
                text,
                files,
            } => Self {
                files: WantedFiles::named(files),
                conversation: *conversation,
                question: Question::New {
                    text: text.clone(),
                    follows: Follows::TheLast,
                },
            },
            RequestKind::Edit { message, text, files } => {
                let earlier = find_with_role(database, messages, caller, *message, Role::User).await?;
                let files = match files {
                    Some(files) => WantedFiles::named(files),
                    None => WantedFiles::kept(earlier.attachments.iter().map(|attached| attached.file.id).collect()),
                };
                Self {
                    files,
                    conversation: Some(earlier.conversation_id),
                    question: Question::New {
                        text: text.clone(),
                        follows: Follows::SameAs(earlier.id),
                    },
                }
            }
            RequestKind::Regenerate { answer } => {
                let earlier = find_with_role(database, messages, caller, *answer, Role::Assistant).await?;
                let question = earlier.parent_id.ok_or(StartAnswerError::MessageNotFound)?;
                let question = find_with_role(database, messages, caller, question, Role::User).await?;
                Self {
                    files: WantedFiles::None,
                    conversation: Some(question.conversation_id),
                    question: Question::Existing(Box::new(question)),
                }
            }
        })
    }
}

/// A message of the caller that has this role.
async fn find_with_role(
    database: &Database,
    messages: &Messages,
    caller: Caller,
    id: MessageId,
    role: Role,
) -> Result<Message, StartAnswerError> {
    let found = database.connection(async |connection| messages.find(connection, caller, id).await);
    found
        .await?
        .filter(|message| message.role == role)
        .ok_or(StartAnswerError::MessageNotFound)
}
