//! Sending a message: stored and queued in one transaction, once, however often it is sent.

use chrono::TimeDelta;
use cura_domain::conversation::Title;
use cura_domain::idempotency::IdempotencyKey;
use cura_domain::message::MessageText;
use cura_domain::{ConversationId, MessageId};
use cura_queue::{Enqueued, GenerateAnswer, QueueError};
use cura_store::conversations::LockedConversation;
use cura_store::idempotency::KeyUse;
use cura_store::messages::Message;
use cura_store::{PgConnection, StoreError, conversations, idempotency, in_time, messages};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::{App, Caller, commit, conn, stamp};

/// How long an idempotency key stands for its first use, as the contract says.
const KEY_LIFETIME: TimeDelta = TimeDelta::hours(24);

/// A message to send.
#[derive(Debug, Clone)]
pub struct SendMessage {
    /// Where; `None` opens a new conversation.
    pub conversation: Option<ConversationId>,
    /// What.
    pub text: MessageText,
    /// The client's own name for this send.
    pub key: Option<IdempotencyKey>,
}

/// A message that is stored, and its answer that is queued, running or done.
#[derive(Debug, Clone)]
pub struct StartedAnswer {
    /// Where it was said.
    pub conversation: ConversationId,
    /// The user's message.
    pub user_message: Message,
    /// The answer, as it was when this was found out.
    pub answer: Message,
    /// Whether an earlier send with the same key had done it.
    pub replayed: bool,
}

/// Why a message was not sent. Nothing was stored.
#[derive(Debug, Error)]
pub enum SendMessageError {
    /// The conversation is not there, or not the caller's.
    #[error("no such conversation")]
    ConversationNotFound,
    /// An answer is being written in this conversation.
    #[error("an answer is being written")]
    Busy {
        /// That answer.
        running: MessageId,
    },
    /// The key was used for another message.
    #[error("the key was used for another message")]
    KeyReused,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The job cannot be written down.
    #[error(transparent)]
    Queue(QueueError),
    /// A job for a message with this id is there already: the ids of messages were given out anew.
    #[error("there is a job for this message already")]
    JobKnown,
}

impl From<QueueError> for SendMessageError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Database(error) => Self::Store(error.into()),
            error @ QueueError::Payload(_) => Self::Queue(error),
        }
    }
}

/// Why a message cannot be read.
#[derive(Debug, Error)]
pub enum ReadMessageError {
    /// Not there, or not the caller's.
    #[error("no such message")]
    NotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl App {
    /// What an earlier send with the same key stored, if there was one.
    ///
    /// # Errors
    /// [`SendMessageError::KeyReused`] when the key was used for another message.
    pub async fn find_sent(
        &self,
        caller: Caller,
        send: &SendMessage,
    ) -> Result<Option<StartedAnswer>, SendMessageError> {
        let Some(key) = &send.key else {
            return Ok(None);
        };
        let not_before = stamp(&self.0.clock) - KEY_LIFETIME;
        in_time(async {
            let mut connection = self.connection().await?;
            match idempotency::find(&mut connection, caller.user, key.as_str(), not_before).await? {
                None => Ok(None),
                Some(first) => self
                    .replay(&mut connection, caller, &request_hash(send), &first)
                    .await
                    .map(Some),
            }
        })
        .await
    }

    /// Stores a message and queues its answer. Both are there, or neither.
    ///
    /// # Errors
    /// [`SendMessageError`]; then nothing was stored.
    pub async fn start_answer(&self, caller: Caller, send: &SendMessage) -> Result<StartedAnswer, SendMessageError> {
        in_time(self.store_and_queue(caller, send)).await
    }

    async fn store_and_queue(&self, caller: Caller, send: &SendMessage) -> Result<StartedAnswer, SendMessageError> {
        let now = stamp(&self.0.clock);
        let keyed = send.key.as_ref().map(|key| (key.as_str(), request_hash(send)));
        let mut transaction = self.begin().await?;
        if let Some((key, hash)) = &keyed
            && !idempotency::claim(conn(&mut transaction), caller.user, key, hash, now, now - KEY_LIFETIME).await?
        {
            let first = idempotency::find(conn(&mut transaction), caller.user, key, now - KEY_LIFETIME)
                .await?
                .ok_or(SendMessageError::ConversationNotFound)?;
            return self.replay(conn(&mut transaction), caller, hash, &first).await;
        }
        let text = send.text.as_str();
        let title = Title::cut(text);
        let conversation = match send.conversation {
            Some(id) => match conversations::lock_owned(conn(&mut transaction), caller.user, id).await? {
                None => return Err(SendMessageError::ConversationNotFound),
                Some(LockedConversation { running: Some(running) }) => return Err(SendMessageError::Busy { running }),
                Some(LockedConversation { running: None }) => {
                    conversations::touch(conn(&mut transaction), id, 2, Some(title.as_str()), now).await?;
                    id
                }
            },
            None => {
                let title = Some(title.as_str());
                conversations::insert(conn(&mut transaction), caller.user, title, "cut", 2, now).await?
            }
        };
        let turn = messages::insert_turn(conn(&mut transaction), caller.user, conversation, text, now).await?;
        if let Some((key, _)) = &keyed {
            idempotency::bind(conn(&mut transaction), caller.user, key, turn.question, turn.answer).await?;
        }
        let job = GenerateAnswer {
            message_id: turn.answer.0,
        };
        if cura_queue::enqueue(conn(&mut transaction), &job, None).await? == Enqueued::Known {
            return Err(SendMessageError::JobKnown);
        }
        commit(transaction).await?;
        Ok(StartedAnswer {
            conversation,
            user_message: Message::just_said(&turn, conversation, text.to_owned(), now),
            answer: Message::just_asked(&turn, conversation, now),
            replayed: false,
        })
    }

    /// One message of the caller; of a running answer with the text saved so far.
    ///
    /// # Errors
    /// [`ReadMessageError::NotFound`] also when it is somebody else's.
    pub async fn message(&self, caller: Caller, id: MessageId) -> Result<Message, ReadMessageError> {
        in_time(async {
            messages::find_owned(&mut *self.connection().await?, caller.user, id)
                .await?
                .ok_or(ReadMessageError::NotFound)
        })
        .await
    }

    async fn replay(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
        hash: &[u8; 32],
        first: &KeyUse,
    ) -> Result<StartedAnswer, SendMessageError> {
        if first.request_hash != hash {
            return Err(SendMessageError::KeyReused);
        }
        let user_message = messages::find_owned(connection, caller.user, first.user_message).await?;
        let answer = messages::find_owned(connection, caller.user, first.answer).await?;
        // Deleted meanwhile, with the conversation.
        let (user_message, answer) = user_message.zip(answer).ok_or(SendMessageError::ConversationNotFound)?;
        Ok(StartedAnswer {
            conversation: answer.conversation_id,
            user_message,
            answer,
            replayed: true,
        })
    }
}

/// What makes two sends the same one: where and what.
fn request_hash(send: &SendMessage) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(send.conversation.map_or(0, |id| id.0).to_be_bytes());
    hash.update(send.text.as_str().as_bytes());
    hash.finalize().into()
}
