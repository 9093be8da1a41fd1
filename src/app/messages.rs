//! Reading messages: one, or a page of a conversation. A running answer is returned with the text that its readers were
//! shown, which may be seconds ahead of the saved one (`cura_answers::SaveSchedule`).

use cura_answers::shown_text;
use cura_domain::answer::Fence;
use cura_domain::message::MessageStatus;
use cura_domain::{ConversationId, MessageId};
use cura_live::Live;
use cura_store::{Database, StoreError, messages};
use futures_util::future::join_all;
use thiserror::Error;

pub use cura_domain::message::{Message, Order};

use crate::caller::Caller;
use crate::conversations::{self, ConversationError};
use crate::notices::Notices;
use crate::page::Page;

/// Why a message was not read.
#[derive(Debug, Error)]
pub enum MessageError {
    /// It does not exist, or belongs to another user.
    #[error("no such message")]
    NotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The use cases of reading messages. Cheap to clone.
#[derive(Clone)]
pub struct Messages {
    database: Database,
    live: Live,
    notices: Notices,
}

impl Messages {
    /// Puts the parts together.
    pub fn new(database: Database, live: Live, notices: Notices) -> Self {
        Self {
            database,
            live,
            notices,
        }
    }

    /// One message of the caller.
    ///
    /// # Errors
    /// [`MessageError::NotFound`] also when it belongs to another user.
    pub async fn get(&self, caller: Caller, id: MessageId) -> Result<Message, MessageError> {
        let message = self.database.connection(async |connection| {
            messages::find_owned(connection, caller.user, id)
                .await?
                .map(|message| self.notices.readable(message))
                .ok_or(MessageError::NotFound)
        });
        let mut message = message.await?;
        self.add_live_text(std::slice::from_mut(&mut message)).await;
        Ok(message)
    }

    /// A page of a conversation's messages: at most `limit`, fewer if they are long.
    ///
    /// # Errors
    /// [`ConversationError::NotFound`] also when the conversation belongs to another user.
    pub async fn list(
        &self,
        caller: Caller,
        conversation: ConversationId,
        order: Order,
        after: Option<MessageId>,
        limit: u32,
    ) -> Result<Page<Message, MessageId>, ConversationError> {
        let wanted = i64::from(limit) + 1;
        let page = self.database.connection(async |connection| {
            let longest = Page::<Message, MessageId>::longest_item(limit);
            let listed =
                messages::list_owned_page(connection, caller.user, conversation, order, after, wanted, longest).await?;
            let Some(listed) = listed else {
                let owned = conversations::get_owned(connection, caller.user, conversation).await?;
                return Ok(Page::cut(
                    Vec::new(),
                    limit,
                    owned.message_count.into(),
                    |last: &Message| last.id,
                ));
            };
            if let Some(items) = listed.messages {
                let items = self.notices.all_readable(items);
                return Ok(Page::cut(items, limit, listed.total, |last| last.id));
            }
            let sizes = messages::list_sizes(connection, conversation, order, after, wanted).await?;
            let fitting = Page::<Message, MessageId>::fitting(&sizes, limit);
            let fits = i64::try_from(fitting).unwrap_or(i64::MAX);
            let items = messages::list(connection, conversation, order, after, fits).await?;
            let items = self.notices.all_readable(items);
            let next = items.last().map(|last| last.id).filter(|_| sizes.len() > fitting);
            Ok::<_, ConversationError>(Page {
                items,
                next,
                total: listed.total,
            })
        });
        let mut page = page.await?;
        self.add_live_text(&mut page.items).await;
        Ok(page)
    }

    /// Replaces the saved texts of running answers by those that readers were shown.
    async fn add_live_text(&self, messages: &mut [Message]) {
        let running = messages
            .iter_mut()
            .filter(|message| message.status == MessageStatus::Sending && message.attempt > Fence(0));
        join_all(running.map(async |message| {
            let saved = std::mem::take(&mut message.content);
            message.content = shown_text(&self.live, message.id, message.attempt, saved).await;
        }))
        .await;
    }
}
