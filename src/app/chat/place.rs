//! Where an answer is to be written: found, locked, and cleared of what is in the way.

use chrono::{DateTime, Utc};
use cura_domain::conversation::{Title, TitleSource};
use cura_domain::message::{Follows, Message, MessageText, NewAnswer, Role};
use cura_domain::{ConversationId, MessageId};
use cura_store::conversations::LockedConversation;
use cura_store::{PgConnection, StoreError, conversations, messages};

use super::{Ask, AskError, OnBusy};
use crate::stopping::Stopped;
use crate::{App, Caller};

/// How many answers may wait in one conversation.
const MAX_WAITING: usize = 20;

/// Where an answer is to be written, and what is said there.
pub(super) struct Place {
    pub(super) conversation: ConversationId,
    /// The answers there that are not final.
    pub(super) running: Vec<MessageId>,
    /// Whether the conversation was there before.
    pub(super) known: bool,
    /// Whether it has no title yet, and is given one.
    pub(super) gets_title: bool,
    pub(super) said: Said,
}

/// What the answer is to.
pub(super) enum Said {
    New { text: MessageText, follows: Follows },
    Before(Box<Message>),
}

impl Said {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::New { text, .. } => text.as_str(),
            Self::Before(message) => &message.content,
        }
    }
}

impl App {
    /// Finds and locks where the answer is to be written; makes the conversation if it is to be a new one.
    pub(super) async fn place(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
        ask: &Ask,
        now: DateTime<Utc>,
    ) -> Result<Place, AskError> {
        let (conversation, said) = match ask {
            Ask::Say { conversation, text } => {
                let said = Said::New {
                    text: text.clone(),
                    follows: Follows::TheLast,
                };
                (*conversation, said)
            }
            Ask::Edit { message, text } => {
                let before = find_of(self, connection, caller, *message, Role::User).await?;
                let said = Said::New {
                    text: text.clone(),
                    follows: Follows::SameAs(before.id),
                };
                (Some(before.conversation_id), said)
            }
            Ask::Regenerate { answer } => {
                let before = find_of(self, connection, caller, *answer, Role::Assistant).await?;
                let question = before.parent_id.ok_or(AskError::MessageNotFound)?;
                let question = find_of(self, connection, caller, question, Role::User).await?;
                (Some(question.conversation_id), Said::Before(Box::new(question)))
            }
        };
        let Some(conversation) = conversation else {
            let title = Title::excerpt(said.text());
            let title = Some((&title, TitleSource::Excerpt));
            let id = conversations::insert(connection, caller.user, title, 2, now).await?;
            return Ok(Place {
                conversation: id,
                running: Vec::new(),
                known: false,
                gets_title: true,
                said,
            });
        };
        let LockedConversation { running, untitled } = conversations::lock_owned(connection, caller.user, conversation)
            .await?
            .ok_or(AskError::ConversationNotFound)?;
        Ok(Place {
            conversation,
            running,
            known: true,
            gets_title: untitled,
            said,
        })
    }

    /// Deals with the answers that are in the way.
    pub(super) async fn make_way(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
        place: &Place,
        on_busy: OnBusy,
        now: DateTime<Utc>,
    ) -> Result<Stopped, AskError> {
        let Some(first) = place.running.first() else {
            return Ok(Stopped::default());
        };
        match on_busy {
            OnBusy::Queue if place.running.len() < MAX_WAITING => Ok(Stopped::default()),
            OnBusy::Reject | OnBusy::Queue => Err(AskError::Busy { running: *first }),
            OnBusy::Interrupt => Ok(self
                .stop_in(connection, caller.user, place.conversation, &place.running, now)
                .await?),
        }
    }
}

/// A message of the caller and of this side.
async fn find_of(
    app: &App,
    connection: &mut PgConnection,
    caller: Caller,
    id: MessageId,
    role: Role,
) -> Result<Message, AskError> {
    let found = messages::find_owned(connection, caller.user, id).await?;
    found
        .map(|message| app.readable(message))
        .filter(|message| message.role == role)
        .ok_or(AskError::MessageNotFound)
}

/// Writes what is said, if it is new, and the pending answer.
pub(super) async fn write(
    connection: &mut PgConnection,
    new: &NewAnswer<'_>,
    place: &Place,
    now: DateTime<Utc>,
) -> Result<(Message, Message), StoreError> {
    let added = if matches!(place.said, Said::New { .. }) { 2 } else { 1 };
    if place.known {
        let title = Title::excerpt(place.said.text());
        conversations::touch(connection, place.conversation, added, Some(title.as_str()), now).await?;
    }
    match &place.said {
        Said::New { text, follows } => {
            let turn = messages::insert_turn(connection, new, text.as_str(), *follows, now).await?;
            let said = Message::just_said(&turn, new, text.as_str().to_owned(), now);
            Ok((said, Message::just_asked(turn.answer, turn.question, new, now)))
        }
        Said::Before(question) => {
            let answer = messages::insert_answer(connection, new, question.id, now).await?;
            let asked = Message::just_asked(answer, question.id, new, now);
            Ok(((**question).clone(), asked))
        }
    }
}
