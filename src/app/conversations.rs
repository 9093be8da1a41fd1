//! Conversations: creating, listing, changing, reading and deleting them. A conversation of another user is not found.

use cura_answers::cancel_all_jobs;
use cura_domain::conversation::{ConversationStatus, Title, TitleSource};
use cura_domain::event::Event;
use cura_domain::{Clock, ConversationId, MessageId, UserId};
use cura_live::Live;
use cura_queue::{DeleteObjects, DismissPush, EnqueueOptions, JobOwner, PurgeConversation};
use cura_store::{
    Database, PgConnection, StoreError, conversations, events, exports, file_lifetimes, messages, pushes, users,
};
use thiserror::Error;

pub use cura_domain::conversation::{Conversation, ConversationChanges, ListPosition};

use crate::caller::Caller;
use crate::page::Page;

/// How many of its files a conversation takes along at once; a job deletes the others.
const FILES_AT_ONCE: i64 = 500;
/// How many messages a conversation may have whose files are looked for at once; else a job does it.
const MESSAGES_AT_ONCE: i32 = 2000;

/// Why a conversation was not read or changed.
#[derive(Debug, Error)]
pub enum ConversationError {
    /// It does not exist, or belongs to another user.
    #[error("no such conversation")]
    NotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why it was not recorded how far somebody has read.
#[derive(Debug, Error)]
pub enum MarkReadError {
    /// The conversation was not read.
    #[error(transparent)]
    Conversation(#[from] ConversationError),
    /// The message is not in the conversation.
    #[error("no such message")]
    MessageNotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The use cases of conversations. Cheap to clone.
#[derive(Clone)]
pub struct Conversations {
    database: Database,
    live: Live,
    clock: Clock,
}

impl Conversations {
    /// Puts the parts together.
    pub fn new(database: Database, live: Live, clock: Clock) -> Self {
        Self { database, live, clock }
    }

    /// Creates an empty conversation.
    pub async fn create(&self, caller: Caller, title: Option<&Title>) -> Result<Conversation, ConversationError> {
        let now = self.clock.now_micros();
        let titled = title.map(|title| (title, TitleSource::User));
        let made = self
            .database
            .connection(async |connection| conversations::create(connection, caller.user, titled, now).await)
            .await?
            .ok_or(StoreError::UserGone)?;
        self.live.publish_event(caller.user, made.seq).await;
        Ok(Conversation {
            id: made.id,
            title: title.map(|title| title.as_str().to_owned()),
            status: ConversationStatus::Active,
            muted: false,
            created_at: now,
            updated_at: now,
            last_message_at: now,
            message_count: 0,
            busy: false,
        })
    }

    /// One conversation of the caller.
    ///
    /// # Errors
    /// [`ConversationError::NotFound`] also when it belongs to another user.
    pub async fn get(&self, caller: Caller, id: ConversationId) -> Result<Conversation, ConversationError> {
        self.database
            .connection(async |connection| get_owned(connection, caller.user, id).await)
            .await
    }

    /// Changes a conversation, and returns the changed one.
    ///
    /// # Errors
    /// [`ConversationError::NotFound`] also when it belongs to another user.
    pub async fn update(
        &self,
        caller: Caller,
        id: ConversationId,
        changes: &ConversationChanges,
    ) -> Result<Conversation, ConversationError> {
        if changes.is_empty() {
            return self.get(caller, id).await;
        }
        let now = self.clock.now_micros();
        let changed = self.database.transaction(async |connection| {
            if !conversations::update(connection, caller.user, id, changes, now).await? {
                return Err(ConversationError::NotFound);
            }
            let conversation = get_owned(connection, caller.user, id).await?;
            let seq = events::append(connection, caller.user, &[Event::Conversation(id)], now).await?;
            Ok((conversation, seq))
        });
        let (conversation, seq) = changed.await?;
        self.live.publish_event(caller.user, seq).await;
        Ok(conversation)
    }

    /// Deletes a conversation, with the files that belong to no other. It is invisible at once, every job that works with its words is cancelled, and a job removes
    /// the rows.
    ///
    /// # Errors
    /// [`ConversationError::NotFound`] also when it belongs to another user.
    pub async fn delete(&self, caller: Caller, id: ConversationId) -> Result<(), ConversationError> {
        let now = self.clock.now_micros();
        let deleted = self.database.transaction(async |connection| {
            // Alone, as those who give files to messages.
            let held = users::hold_alone(connection, caller.user)
                .await?
                .ok_or(StoreError::UserGone)?;
            // In the order of locks: the user, the files, the conversation.
            let (user, longest) = (held.id(), MESSAGES_AT_ONCE);
            let files = file_lifetimes::delete_of_conversation(connection, user, id, longest, FILES_AT_ONCE).await?;
            let locked = conversations::lock_owned(connection, held.id(), id)
                .await?
                .ok_or(ConversationError::NotFound)?;
            conversations::delete(connection, id, now).await?;
            let owner = JobOwner::conversation(held.id(), id);
            cancel_all_jobs(connection, owner, &locked.running).await?;
            // An archive must not contain what was deleted.
            exports::delete(connection, caller.user).await?;
            let job = PurgeConversation {
                conversation_id: id.0,
                round: 0,
            };
            cura_queue::enqueue(connection, &job).await.map_err(StoreError::from)?;
            let mut told = vec![Event::Conversation(id)];
            if !files.is_empty() {
                told.extend(files.into_iter().map(Event::Upload));
                let job = DeleteObjects::of_moment(now.timestamp_micros());
                cura_queue::enqueue(connection, &job).await.map_err(StoreError::from)?;
            }
            let seq = events::append(connection, caller.user, &told, now).await?;
            Ok::<_, ConversationError>((locked.running, seq))
        });
        let (running, seq) = deleted.await?;
        self.live.publish_event(caller.user, seq).await;
        self.live.publish_deleted(&running).await;
        Ok(())
    }

    /// Records that the caller has read a conversation up to this message, and publishes it to their other connections. The
    /// recorded message never moves backwards.
    ///
    /// # Errors
    /// [`MarkReadError::Conversation`] and [`MarkReadError::MessageNotFound`] also for those of another user.
    pub async fn mark_read(&self, caller: Caller, id: ConversationId, message: MessageId) -> Result<(), MarkReadError> {
        let now = self.clock.now_micros();
        let recorded = self.database.transaction(async |connection| {
            if !conversations::mark_read(connection, caller.user, id, message).await? {
                get_owned(connection, caller.user, id).await?;
                let found = messages::find_owned(connection, caller.user, message).await?;
                let is_here = found.is_some_and(|found| found.conversation_id == id);
                return if is_here {
                    Ok(None)
                } else {
                    Err(MarkReadError::MessageNotFound)
                };
            }
            if pushes::are_shown(connection, caller.user, id, message).await? {
                let dismissal = DismissPush {
                    conversation_id: id.0,
                    message_id: message.0,
                };
                let options = EnqueueOptions {
                    owner: Some(JobOwner::conversation(caller.user, id)),
                    ..EnqueueOptions::default()
                };
                let enqueued = cura_queue::enqueue_with(connection, &dismissal, options).await;
                enqueued.map_err(StoreError::from)?;
            }
            let read = [Event::Read(id, message)];
            Ok(Some(events::append(connection, caller.user, &read, now).await?))
        });
        if let Some(seq) = recorded.await? {
            self.live.publish_event(caller.user, seq).await;
        }
        Ok(())
    }

    /// A page of the caller's conversations, most recent activity first.
    pub async fn list(
        &self,
        caller: Caller,
        status: ConversationStatus,
        after: Option<ListPosition>,
        limit: u32,
    ) -> Result<Page<Conversation, ListPosition>, StoreError> {
        self.database
            .connection(async |connection| {
                let items = conversations::list(connection, caller.user, status, after, i64::from(limit) + 1).await?;
                let total = conversations::count(connection, caller.user, status).await?;
                Ok(Page::cut(items, limit, total, |last| ListPosition {
                    last_message_at: last.last_message_at,
                    id: last.id,
                }))
            })
            .await
    }
}

pub(crate) async fn get_owned(
    connection: &mut PgConnection,
    user: UserId,
    id: ConversationId,
) -> Result<Conversation, ConversationError> {
    conversations::find_owned(connection, user, id)
        .await?
        .ok_or(ConversationError::NotFound)
}
