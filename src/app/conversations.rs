//! Conversations: making, listing and reading them. Somebody else's conversation is not there.

use cura_domain::conversation::{ConversationStatus, Title};
use cura_domain::event::Event;
use cura_domain::{ConversationId, MessageId};
use cura_queue::{GenerateAnswer, PurgeConversation};
use cura_store::StoreError;
use cura_store::conversations;
use cura_store::events;
use cura_store::exports;
use cura_store::messages;
use thiserror::Error;

pub use cura_domain::conversation::{Conversation, ListPosition};
pub use cura_domain::message::{Message, Order};

use crate::{App, Caller, Page, stamp};

/// Why a conversation cannot be read.
#[derive(Debug, Error)]
pub enum ReadConversationError {
    /// Not there, or not the caller's.
    #[error("no such conversation")]
    NotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl App {
    /// Makes an empty conversation.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create_conversation(
        &self,
        caller: Caller,
        title: Option<&Title>,
    ) -> Result<Conversation, ReadConversationError> {
        let now = stamp(&self.0.clock);
        let source = if title.is_some() { "user" } else { "none" };
        let made = self.write(async |connection| {
            let title = title.map(Title::as_str);
            let id = conversations::insert(connection, caller.user, title, source, 0, now).await?;
            let made = conversations::find_owned(connection, caller.user, id)
                .await?
                .ok_or(ReadConversationError::NotFound)?;
            let seq = events::append(connection, caller.user, &[Event::Conversation(id)], now).await?;
            Ok::<_, ReadConversationError>((made, seq))
        });
        let (made, seq) = made.await?;
        self.announce(caller.user, seq).await;
        Ok(made)
    }

    /// One conversation.
    ///
    /// # Errors
    /// [`ReadConversationError::NotFound`] also when it is somebody else's.
    pub async fn conversation(
        &self,
        caller: Caller,
        id: ConversationId,
    ) -> Result<Conversation, ReadConversationError> {
        self.read(async |connection| {
            conversations::find_owned(connection, caller.user, id)
                .await?
                .ok_or(ReadConversationError::NotFound)
        })
        .await
    }

    /// Changes a conversation's title, status, or both; gives the new one.
    ///
    /// # Errors
    /// [`ReadConversationError::NotFound`] also when it is somebody else's.
    pub async fn update_conversation(
        &self,
        caller: Caller,
        id: ConversationId,
        title: Option<&Title>,
        status: Option<ConversationStatus>,
    ) -> Result<Conversation, ReadConversationError> {
        let title = title.map(Title::as_str);
        if title.is_none() && status.is_none() {
            return self.conversation(caller, id).await;
        }
        let now = stamp(&self.0.clock);
        let changed = self.write(async |connection| {
            if !conversations::update(connection, caller.user, id, title, status, now).await? {
                return Err(ReadConversationError::NotFound);
            }
            let conversation = conversations::find_owned(connection, caller.user, id)
                .await?
                .ok_or(ReadConversationError::NotFound)?;
            let seq = events::append(connection, caller.user, &[Event::Conversation(id)], now).await?;
            Ok((conversation, seq))
        });
        let (conversation, seq) = changed.await?;
        self.announce(caller.user, seq).await;
        Ok(conversation)
    }

    /// Takes a conversation out of every answer at once; a job removes what is left. A running answer is stopped.
    ///
    /// # Errors
    /// [`ReadConversationError::NotFound`] also when it is somebody else's.
    pub async fn delete_conversation(&self, caller: Caller, id: ConversationId) -> Result<(), ReadConversationError> {
        let now = stamp(&self.0.clock);
        let deleted = self.write(async |connection| {
            let locked = conversations::lock_owned(connection, caller.user, id)
                .await?
                .ok_or(ReadConversationError::NotFound)?;
            conversations::delete(connection, id, now).await?;
            for answer in &locked.running {
                cura_queue::cancel::<GenerateAnswer>(connection, &answer.to_string())
                    .await
                    .map_err(StoreError::from)?;
            }
            // What is gone from every answer is gone from the archive, too.
            exports::forget(connection, caller.user).await?;
            let job = PurgeConversation {
                conversation_id: id.0,
                round: 0,
            };
            cura_queue::enqueue(connection, &job).await.map_err(StoreError::from)?;
            let seq = events::append(connection, caller.user, &[Event::Conversation(id)], now).await?;
            Ok::<_, ReadConversationError>((locked.running, seq))
        });
        let (running, seq) = deleted.await?;
        self.announce(caller.user, seq).await;
        self.announce_over(&running).await;
        Ok(())
    }

    /// Notes that the caller has read a conversation as far as this message, and tells their other devices. What was read
    /// stays read.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn note_read(&self, caller: Caller, id: ConversationId, message: MessageId) -> Result<(), StoreError> {
        let now = stamp(&self.0.clock);
        let noted = self.write(async |connection| {
            if !conversations::note_read(connection, caller.user, id, message).await? {
                return Ok(None);
            }
            let happened = [Event::Read(id, message)];
            events::append(connection, caller.user, &happened, now).await.map(Some)
        });
        if let Some(seq) = noted.await? {
            self.announce(caller.user, seq).await;
        }
        Ok(())
    }

    /// A page of the caller's conversations, newest activity first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list_conversations(
        &self,
        caller: Caller,
        status: ConversationStatus,
        after: Option<ListPosition>,
        limit: u32,
    ) -> Result<Page<Conversation, ListPosition>, StoreError> {
        self.read(async |connection| {
            let items = conversations::list(connection, caller.user, status, after, i64::from(limit) + 1).await?;
            let total = conversations::count(connection, caller.user, status).await?;
            Ok(Page::cut(items, limit, total, |last| ListPosition {
                last_message_at: last.last_message_at,
                id: last.id,
            }))
        })
        .await
    }

    /// A page of a conversation's messages; running answers with the text that watchers have seen.
    ///
    /// # Errors
    /// [`ReadConversationError::NotFound`] also when it is somebody else's.
    pub async fn list_messages(
        &self,
        caller: Caller,
        id: ConversationId,
        order: Order,
        after: Option<MessageId>,
        limit: u32,
    ) -> Result<Page<Message, MessageId>, ReadConversationError> {
        let page = self.read(async |connection| {
            let conversation = conversations::find_owned(connection, caller.user, id)
                .await?
                .ok_or(ReadConversationError::NotFound)?;
            let items = messages::list(connection, id, order, after, i64::from(limit) + 1).await?;
            let items = self.all_readable(items);
            let total = conversation.message_count.into();
            Ok::<_, ReadConversationError>(Page::cut(items, limit, total, |last| last.id))
        });
        let mut page = page.await?;
        self.fill_in(&mut page.items).await;
        Ok(page)
    }
}
