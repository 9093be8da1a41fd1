//! Conversations: making, listing and reading them. Somebody else's conversation is not there.

use cura_domain::answer::Fence;
use cura_domain::conversation::{ConversationStatus, Title};
use cura_domain::{ConversationId, MessageId};
use cura_queue::{GenerateAnswer, PurgeConversation};
use cura_store::conversations;
use cura_store::events::{self, Event};
use cura_store::exports;
use cura_store::messages;
use cura_store::{StoreError, in_time};
use thiserror::Error;

pub use cura_store::conversations::{Conversation, ListPosition};
pub use cura_store::messages::{Message, Order};

use crate::{App, Caller, Page, commit, conn, queue_failed, stamp};

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
        let mut transaction = self.begin().await?;
        let source = if title.is_some() { "user" } else { "none" };
        let id = conversations::insert(
            conn(&mut transaction),
            caller.user,
            title.map(Title::as_str),
            source,
            0,
            now,
        )
        .await?;
        let made = conversations::find_owned(conn(&mut transaction), caller.user, id)
            .await?
            .ok_or(ReadConversationError::NotFound)?;
        let happened = [Event::Conversation(id)];
        let seq = events::append(conn(&mut transaction), caller.user, &happened, now).await?;
        commit(transaction).await?;
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
        conversations::find_owned(&mut *self.connection().await?, caller.user, id)
            .await?
            .ok_or(ReadConversationError::NotFound)
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
        let now = stamp(&self.0.clock);
        let title = title.map(Title::as_str);
        let mut transaction = self.begin().await?;
        let changed = title.is_some() || status.is_some();
        if changed && !conversations::update(conn(&mut transaction), caller.user, id, title, status, now).await? {
            return Err(ReadConversationError::NotFound);
        }
        let conversation = conversations::find_owned(conn(&mut transaction), caller.user, id)
            .await?
            .ok_or(ReadConversationError::NotFound)?;
        let seq = if changed {
            Some(events::append(conn(&mut transaction), caller.user, &[Event::Conversation(id)], now).await?)
        } else {
            None
        };
        commit(transaction).await?;
        if let Some(seq) = seq {
            self.announce(caller.user, seq).await;
        }
        Ok(conversation)
    }

    /// Takes a conversation out of every answer at once; a job removes what is left. A running answer is stopped.
    ///
    /// # Errors
    /// [`ReadConversationError::NotFound`] also when it is somebody else's.
    pub async fn delete_conversation(&self, caller: Caller, id: ConversationId) -> Result<(), ReadConversationError> {
        let now = stamp(&self.0.clock);
        let mut transaction = self.begin().await?;
        let locked = conversations::lock_owned(conn(&mut transaction), caller.user, id)
            .await?
            .ok_or(ReadConversationError::NotFound)?;
        conversations::delete(conn(&mut transaction), id, now).await?;
        for answer in &locked.running {
            cura_queue::cancel::<GenerateAnswer>(conn(&mut transaction), &answer.to_string())
                .await
                .map_err(queue_failed)?;
        }
        // What is gone from every answer is gone from the archive, too.
        exports::forget(conn(&mut transaction), caller.user).await?;
        let job = PurgeConversation {
            conversation_id: id.0,
            round: 0,
        };
        cura_queue::enqueue(conn(&mut transaction), &job)
            .await
            .map_err(queue_failed)?;
        let seq = events::append(conn(&mut transaction), caller.user, &[Event::Conversation(id)], now).await?;
        commit(transaction).await?;
        self.announce(caller.user, seq).await;
        for answer in locked.running {
            // Watchers that miss this find out from Postgres.
            let _ = self.0.live.end(answer, Fence(u32::MAX)).await;
        }
        Ok(())
    }

    /// Notes that the caller has read a conversation as far as this message, and tells their other devices. What was read
    /// stays read.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn note_read(&self, caller: Caller, id: ConversationId, message: MessageId) -> Result<(), StoreError> {
        in_time(async {
            let now = stamp(&self.0.clock);
            let mut transaction = self.begin().await?;
            if !conversations::note_read(conn(&mut transaction), caller.user, id, message).await? {
                return Ok(());
            }
            let happened = [Event::Read(id, message)];
            let seq = events::append(conn(&mut transaction), caller.user, &happened, now).await?;
            commit(transaction).await?;
            self.announce(caller.user, seq).await;
            Ok(())
        })
        .await
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
        let mut connection = self.connection().await?;
        let items = conversations::list(&mut connection, caller.user, status, after, i64::from(limit) + 1).await?;
        let total = conversations::count(&mut connection, caller.user, status).await?;
        Ok(Page::cut(items, limit, total, |last| ListPosition {
            last_message_at: last.last_message_at,
            id: last.id,
        }))
    }

    /// A page of a conversation's messages.
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
        let mut connection = self.connection().await?;
        let conversation = conversations::find_owned(&mut connection, caller.user, id)
            .await?
            .ok_or(ReadConversationError::NotFound)?;
        let items = messages::list(&mut connection, id, order, after, i64::from(limit) + 1).await?;
        Ok(Page::cut(items, limit, conversation.message_count.into(), |last| {
            last.id
        }))
    }
}
