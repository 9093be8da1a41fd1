//! Reading messages: one, or a page of a conversation. A running answer is returned with the text that its readers were
//! shown, which may be seconds ahead of the saved one (`cura_answers::SaveSchedule`).

use cura_answers::shown_text;
use cura_domain::answer::Fence;
use cura_domain::message::MessageStatus;
use cura_domain::{ConversationId, MessageId};
use cura_live::Live;
use cura_store::messages::StoredMessage;
use cura_store::{Database, PgConnection, StoreError, messages};
use futures_util::future::join_all;
use thiserror::Error;

pub use cura_domain::message::{Message, Order};

use crate::caller::Caller;
use crate::conversations::{self, ConversationError};
use crate::files::FileLinks;
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
    links: FileLinks,
}

impl Messages {
    /// Puts the parts together.
    pub fn new(database: Database, live: Live, notices: Notices, links: FileLinks) -> Self {
        Self {
            database,
            live,
            notices,
            links,
        }
    }

    /// Makes the links of files.
    pub(crate) fn links(&self) -> &FileLinks {
        &self.links
    }

    /// Makes messages of the caller that were just read what they are shown as: with readable notices, and with their files.
    pub(crate) async fn show(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
        stored: Vec<StoredMessage>,
    ) -> Result<Vec<Message>, StoreError> {
        let mut shown = self.notices.all_readable(stored);
        self.links.add_attachments(connection, caller.user, &mut shown).await?;
        Ok(shown)
    }

    /// A message of the caller as it is shown, if there is one: see [`Self::show`].
    pub(crate) async fn find(
        &self,
        connection: &mut PgConnection,
        caller: Caller,
        id: MessageId,
    ) -> Result<Option<Message>, StoreError> {
        let found = messages::find_owned(connection, caller.user, id).await?;
        let shown = self.show(connection, caller, found.into_iter().collect()).await?;
        Ok(shown.into_iter().next())
    }

    /// One message of the caller.
    ///
    /// # Errors
    /// [`MessageError::NotFound`] also when it belongs to another user.
    pub async fn get(&self, caller: Caller, id: MessageId) -> Result<Message, MessageError> {
        let message = self.database.connection(async |connection| {
            let found = self.find(connection, caller, id).await?;
            found.ok_or(MessageError::NotFound)
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
                let items = self.show(connection, caller, items).await?;
                return Ok(Page::cut(items, limit, listed.total, |last| last.id));
            }
            let sizes = messages::list_sizes(connection, conversation, order, after, wanted).await?;
            let fitting = Page::<Message, MessageId>::fitting(&sizes, limit);
            let fits = i64::try_from(fitting).unwrap_or(i64::MAX);
            let items = messages::list(connection, conversation, order, after, fits).await?;
            let items = self.show(connection, caller, items).await?;
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
