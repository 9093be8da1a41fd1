//! Asking for an answer: stored and queued in one transaction, once, however often it is asked for.

mod place;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use cura_domain::event::Event;
use cura_domain::idempotency::IdempotencyKey;
use cura_domain::message::{Message, MessageText, NewAnswer};
use cura_domain::notice::Notice;
use cura_domain::{ConversationId, MessageId};
use cura_queue::{EnqueueOptions, Enqueued, GenerateAnswer, QueueError};
use cura_store::idempotency::KeyUse;
use cura_store::{PgConnection, StoreError, events, idempotency, messages, users};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::stopping::{Announced, Stopped};
use crate::{App, Caller};
use place::{Place, Said};

/// How long an idempotency key stands for its first use, as the contract says.
const KEY_LIFETIME: TimeDelta = TimeDelta::hours(24);
/// When an answer that waits for another one looks again whether its time has come, if nobody told it.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// What an answer is asked for to.
#[derive(Debug, Clone)]
pub enum Ask {
    /// Something new.
    Say {
        /// Where; `None` opens a new conversation.
        conversation: Option<ConversationId>,
        /// What.
        text: MessageText,
    },
    /// Something said before, said anew beside it.
    Edit {
        /// What was said before.
        message: MessageId,
        /// What is said now.
        text: MessageText,
    },
    /// The same, answered anew beside the first answer.
    Regenerate {
        /// The first answer.
        answer: MessageId,
    },
}

/// What happens when an answer is being written in the conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnBusy {
    /// Nothing is stored.
    #[default]
    Reject,
    /// It is stopped.
    Interrupt,
    /// The new one waits for it.
    Queue,
}

/// A wish for an answer.
#[derive(Debug, Clone)]
pub struct AskForAnswer {
    /// To what.
    pub ask: Ask,
    /// What if another one is being written.
    pub on_busy: OnBusy,
    /// The client's own name for this wish.
    pub key: Option<IdempotencyKey>,
}

/// A question that is stored, and its answer that is queued, running or done.
#[derive(Debug, Clone)]
pub struct StartedAnswer {
    /// Where it was said.
    pub conversation: ConversationId,
    /// The user's message.
    pub user_message: Message,
    /// The answer, as it was when this was found out.
    pub answer: Message,
    /// Whether an earlier wish with the same key had done it.
    pub replayed: bool,
}

/// Why no answer was asked for. Nothing was stored.
#[derive(Debug, Error)]
pub enum AskError {
    /// The conversation is not there, or not the caller's.
    #[error("no such conversation")]
    ConversationNotFound,
    /// The message is not there, not the caller's, or of the other side.
    #[error("no such message")]
    MessageNotFound,
    /// An answer is being written in this conversation, or too many wait there.
    #[error("an answer is being written")]
    Busy {
        /// That answer.
        running: MessageId,
    },
    /// The caller has used up the tokens of the day.
    #[error("the tokens of the day are used up")]
    QuotaExceeded {
        /// How many a day has.
        limit: u64,
        /// When there are new ones.
        resets_at: DateTime<Utc>,
        /// How long that is from now.
        after: Duration,
    },
    /// The key was used for something else.
    #[error("the key was used for something else")]
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

impl From<QueueError> for AskError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Database(error) => Self::Store(error.into()),
            error @ QueueError::Payload(_) => Self::Queue(error),
        }
    }
}

impl App {
    /// What an earlier wish with the same key stored, if there was one.
    ///
    /// # Errors
    /// [`AskError::KeyReused`] when the key was used for something else.
    pub async fn find_asked(&self, caller: Caller, wish: &AskForAnswer) -> Result<Option<StartedAnswer>, AskError> {
        let Some(key) = &wish.key else {
            return Ok(None);
        };
        let not_before = self.clock.now_micros() - KEY_LIFETIME;
        self.read(async |connection| {
            match idempotency::find(connection, caller.user, key.as_str(), not_before).await? {
                None => Ok(None),
                Some(first) => self
                    .replay(connection, caller, &request_hash(wish), &first)
                    .await
                    .map(Some),
            }
        })
        .await
    }

    /// Stores what is said and queues its answer. Both are there, or neither.
    ///
    /// # Errors
    /// [`AskError`]; then nothing was stored.
    pub async fn start_answer(&self, caller: Caller, wish: &AskForAnswer) -> Result<StartedAnswer, AskError> {
        let now = self.clock.now_micros();
        let stored = self.write(async |connection| {
            if let Some(first) = self.claim_key(connection, caller, wish, now).await? {
                return Ok((first, Announced::default()));
            }
            self.store_and_queue(connection, caller, wish, now).await
        });
        let (started, announced) = stored.await?;
        // After the time for storing: what is stored is stored.
        self.announce_ended(caller, announced).await;
        Ok(started)
    }

    /// Makes the wish the owner of its key; when it has one already, what that one stored.
    async fn claim_key(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
        wish: &AskForAnswer,
        now: DateTime<Utc>,
    ) -> Result<Option<StartedAnswer>, AskError> {
        let Some(key) = wish.key.as_ref().map(IdempotencyKey::as_str) else {
            return Ok(None);
        };
        let hash = request_hash(wish);
        let not_before = now - KEY_LIFETIME;
        if idempotency::claim(connection, caller.user, key, &hash, now, not_before).await? {
            return Ok(None);
        }
        let first = idempotency::find(connection, caller.user, key, not_before)
            .await?
            .ok_or(AskError::ConversationNotFound)?;
        self.replay(connection, caller, &hash, &first).await.map(Some)
    }

    async fn store_and_queue(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
        wish: &AskForAnswer,
        now: DateTime<Utc>,
    ) -> Result<(StartedAnswer, Announced), AskError> {
        self.lock_budget(connection, caller).await?;
        let place = self.place(connection, caller, &wish.ask, now).await?;
        let stopped = self.make_way(connection, caller, &place, wish.on_busy, now).await?;
        // Of what is left once the way is free.
        let budget = self.budget(connection, caller, now).await?;
        let notice = self.notice(connection, caller, place.said.text()).await?;
        let known = place.known.then_some(place.conversation);
        let new = NewAnswer {
            user: caller.user,
            conversation: place.conversation,
            reserved_tokens: budget.reservation(connection, known, place.said.text()).await?,
            notice: notice.as_ref(),
        };
        let (user_message, answer) = place::write(connection, &new, &place, now).await?;
        if let Some(key) = &wish.key {
            idempotency::bind(connection, caller.user, key.as_str(), user_message.id, answer.id).await?;
        }
        let waits = place.running.len() > stopped.ended.len() || budget.is_full();
        let options = EnqueueOptions {
            after: if waits { LOOK_AGAIN } else { Duration::ZERO },
            // Who has asked for little comes before who has asked for much.
            priority: -budget.running(),
        };
        let job = GenerateAnswer {
            message_id: answer.id.0,
        };
        if cura_queue::enqueue_with(connection, &job, options).await? == Enqueued::Duplicate {
            return Err(AskError::JobKnown);
        }
        stopped.count(connection, now).await?;
        let happened = happened(&place, &stopped, user_message.id, answer.id);
        let announced = Announced {
            seq: Some(events::append(connection, caller.user, &happened, now).await?),
            ended: stopped.ended,
        };
        let started = StartedAnswer {
            conversation: place.conversation,
            user_message,
            answer,
            replayed: false,
        };
        Ok((started, announced))
    }

    /// What is to be shown beside the answer, if what was said points to danger.
    async fn notice(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
        said: &str,
    ) -> Result<Option<Notice>, StoreError> {
        if self.notices.care().check(said, None, None).is_none() {
            return Ok(None);
        }
        let user = users::find(connection, caller.user).await?;
        let (language, time_zone) = user
            .as_ref()
            .map(|user| (user.language.as_str(), user.timezone.as_str()))
            .unzip();
        Ok(self.notices.care().check(said, language, time_zone))
    }

    async fn replay(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
        hash: &[u8; 32],
        first: &KeyUse,
    ) -> Result<StartedAnswer, AskError> {
        if first.request_hash != hash {
            return Err(AskError::KeyReused);
        }
        // Deleted meanwhile, with the conversation.
        let (question, answer) = first.made.ok_or(AskError::ConversationNotFound)?;
        let user_message = messages::find_owned(connection, caller.user, question).await?;
        let answer = messages::find_owned(connection, caller.user, answer).await?;
        let (user_message, answer) = user_message.zip(answer).ok_or(AskError::ConversationNotFound)?;
        let (user_message, answer) = (self.readable(user_message), self.readable(answer));
        Ok(StartedAnswer {
            conversation: answer.conversation_id,
            user_message,
            answer,
            replayed: true,
        })
    }
}

/// What asking did, for the log.
fn happened(place: &Place, stopped: &Stopped, question: MessageId, answer: MessageId) -> Vec<Event> {
    let mut happened = stopped.events(place.conversation);
    if !place.known || place.gets_title {
        happened.push(Event::Conversation(place.conversation));
    }
    if matches!(place.said, Said::New { .. }) {
        happened.push(Event::Message(place.conversation, question));
    }
    happened.push(Event::Message(place.conversation, answer));
    happened
}

/// What makes two wishes the same one: where, what, and whatever else the client said.
fn request_hash(wish: &AskForAnswer) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(match wish.on_busy {
        OnBusy::Reject => b"reject".as_slice(),
        OnBusy::Interrupt => b"interrupt",
        OnBusy::Queue => b"queue",
    });
    match &wish.ask {
        Ask::Say { conversation, text } => {
            match conversation {
                None => hash.update(b"say anew"),
                Some(conversation) => {
                    hash.update(b"say");
                    hash.update(conversation.0.to_be_bytes());
                }
            }
            hash.update(text.as_str().as_bytes());
        }
        Ask::Edit { message, text } => {
            hash.update(b"edit");
            hash.update(message.0.to_be_bytes());
            hash.update(text.as_str().as_bytes());
        }
        Ask::Regenerate { answer } => {
            hash.update(b"regenerate");
            hash.update(answer.0.to_be_bytes());
        }
    }
    hash.finalize().into()
}
