//! `/conversations`: creating, listing, reading, changing and deleting them.

use cura_app::App;
use cura_app::conversations::ConversationChanges;
use cura_app::messages::Order;
use cura_domain::conversation::ConversationStatus;
use cura_domain::{ConversationId, MessageId};
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use serde::Serialize;

use crate::http::caller::SignedIn;
use crate::http::paging::{DEFAULT_LIMIT, PageLinks, read_cursor};
use crate::http::payload::JsonBody;
use crate::http::payload::checked::{Checked, TitleField};
use crate::http::payload::written::WrittenJson;
use crate::http::problem::Problem;
use crate::routes::tag::Tag;
use crate::views::conversation::{ConversationView, StatusView};
use crate::views::message::MessageView;

pub(crate) struct ConversationsApi;

/// A new conversation.
#[derive(Object)]
struct CreateConversationRequest {
    /// Its title; if absent, it is generated from the first message.
    title: Option<Checked<TitleField>>,
}

/// The fields to change; absent ones stay.
#[derive(Object)]
struct UpdateConversationRequest {
    /// The title.
    title: Option<Checked<TitleField>>,
    /// In the main list, or archived.
    status: Option<StatusView>,
    /// Whether nothing is pushed for it.
    muted: Option<bool>,
}

/// How far somebody has read.
#[derive(Object)]
struct MarkReadRequest {
    /// The last message that was read.
    message_id: i64,
}

/// The order of messages.
#[derive(Enum, Clone, Copy)]
#[oai(rename = "Order", rename_all = "lowercase")]
enum OrderView {
    /// Oldest first.
    Asc,
    /// Newest first.
    Desc,
}

/// A page of conversations.
#[derive(Object, Serialize)]
struct ConversationPage {
    /// The conversations of this page.
    items: Vec<ConversationView>,
    /// Pass it as `cursor` to get the next page.
    next_cursor: Option<String>,
    /// Whether there is a next page.
    has_more: bool,
}

/// A page of messages.
#[derive(Object, Serialize)]
struct MessagePage {
    /// The messages of this page.
    items: Vec<MessageView>,
    /// Pass it as `cursor` to get the next page.
    next_cursor: Option<String>,
    /// Whether there is a next page.
    has_more: bool,
}

#[derive(ApiResponse)]
enum ConversationCreated {
    /// The conversation is created.
    #[oai(status = 201)]
    Created(
        WrittenJson<ConversationView>,
        /// Its path.
        #[oai(header = "Location")]
        String,
    ),
}

#[derive(ApiResponse)]
enum ConversationDeleted {
    /// The conversation is deleted.
    #[oai(status = 204)]
    Done,
}

#[derive(ApiResponse)]
enum MarkedRead {
    /// It is recorded.
    #[oai(status = 204)]
    Done,
}

#[derive(ApiResponse)]
enum ConversationList {
    /// A page.
    #[oai(status = 200)]
    Page(
        WrittenJson<ConversationPage>,
        /// The number of items on all pages.
        #[oai(header = "X-Total-Count")]
        i64,
        /// The link to the next page.
        #[oai(header = "Link")]
        Option<String>,
    ),
}

#[derive(ApiResponse)]
enum MessageList {
    /// A page.
    #[oai(status = 200)]
    Page(
        WrittenJson<MessagePage>,
        /// The number of items on all pages.
        #[oai(header = "X-Total-Count")]
        i64,
        /// The link to the next page.
        #[oai(header = "Link")]
        Option<String>,
    ),
}

#[OpenApi(prefix_path = "/conversations", tag = "Tag::Conversations")]
impl ConversationsApi {
    /// Create a conversation
    ///
    /// Creates an empty conversation. A title is trimmed and is one line of at most 255 characters; without one, the first message gives
    /// a title, and the model a better one later. Sending a message without `conversation_id` creates a conversation, too, so an app
    /// rarely needs this. Each request creates another one; there is no idempotency key. Costs one request of the default limit.
    #[oai(path = "/", method = "post", operation_id = "createConversation")]
    async fn create(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        body: JsonBody<CreateConversationRequest>,
    ) -> Result<ConversationCreated, Problem> {
        let title = body.0.title.map(|title| title.0);
        let made = app.conversations.create(caller.0, title.as_ref()).await?;
        let location = format!("/conversations/{}", made.id);
        Ok(ConversationCreated::Created(WrittenJson(made.into()), location))
    }

    /// List my conversations, newest activity first
    ///
    /// By `last_message_at`. Pass `next_cursor` as `cursor` for the next page, with the same `status`. A conversation with new activity
    /// meanwhile moves to the front, and is not on the later pages. Costs one request of the default limit.
    #[oai(path = "/", method = "get", operation_id = "listConversations")]
    async fn list(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        /// Default `active`.
        status: Query<Option<StatusView>>,
        /// The most items on a page; default 20.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<i64>>,
        /// `next_cursor` of the previous page.
        cursor: Query<Option<String>>,
    ) -> Result<ConversationList, Problem> {
        let status = status.0.unwrap_or(StatusView::Active);
        let limit = limit.0.unwrap_or(DEFAULT_LIMIT);
        let after = read_cursor(cursor.0.as_deref())?;
        let wanted = u32::try_from(limit).unwrap_or(1);
        let page = app.conversations.list(caller.0, status.into(), after, wanted).await?;
        let word = ConversationStatus::from(status).as_str();
        let links = PageLinks::of(
            &page,
            "/conversations",
            &[("limit", &limit.to_string()), ("status", word)],
        );
        let body = ConversationPage {
            items: page.items.into_iter().map(Into::into).collect(),
            has_more: links.next_cursor.is_some(),
            next_cursor: links.next_cursor,
        };
        Ok(ConversationList::Page(WrittenJson(body), links.total, links.link))
    }

    /// Get a conversation
    ///
    /// One conversation, without its messages. One that is deleted or another user's is a 404 `conversation_not_found`. Costs one request
    /// of the default limit.
    #[oai(path = "/:conversation_id", method = "get", operation_id = "getConversation")]
    async fn get(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        conversation_id: Path<i64>,
    ) -> Result<Json<ConversationView>, Problem> {
        Ok(Json(
            app.conversations
                .get(caller.0, ConversationId(conversation_id.0))
                .await?
                .into(),
        ))
    }

    /// Rename, archive, restore or mute a conversation
    ///
    /// Changes the fields that are in the body; absent ones stay. A title of the user's own is never replaced by a generated one.
    /// Archiving hides a conversation from the main list and changes nothing else; `muted` stops its push notifications. The same request
    /// again changes nothing more. Other devices are sent a `conversation` event. Costs one request of the default limit.
    #[oai(path = "/:conversation_id", method = "patch", operation_id = "updateConversation")]
    async fn update(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        conversation_id: Path<i64>,
        body: JsonBody<UpdateConversationRequest>,
    ) -> Result<Json<ConversationView>, Problem> {
        let changes = ConversationChanges {
            title: body.0.title.map(|title| title.0),
            status: body.0.status.map(Into::into),
            muted: body.0.muted,
        };
        let id = ConversationId(conversation_id.0);
        let changed = app.conversations.update(caller.0, id, &changes).await?;
        Ok(Json(changed.into()))
    }

    /// Say how far I have read
    ///
    /// For clients without a socket. What is recorded never moves backwards, so it can be repeated and may come late. Other devices are
    /// sent a `read` event, and push notifications of what was read are taken away on phones. A message of another conversation is a 404
    /// `message_not_found`. Costs one request of the default limit.
    #[oai(path = "/:conversation_id/read", method = "post", operation_id = "markRead")]
    async fn mark_read(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        conversation_id: Path<i64>,
        body: JsonBody<MarkReadRequest>,
    ) -> Result<MarkedRead, Problem> {
        let (id, message) = (ConversationId(conversation_id.0), MessageId(body.0.message_id));
        app.conversations.mark_read(caller.0, id, message).await?;
        Ok(MarkedRead::Done)
    }

    /// Delete a conversation
    ///
    /// It is gone from every response at once, with its messages and with the files that belong to no other conversation. A running
    /// answer is cancelled. This cannot be undone. Repeated, it is a 404 `conversation_not_found`, which after a lost response means
    /// success. Costs one request of the default limit.
    #[oai(path = "/:conversation_id", method = "delete", operation_id = "deleteConversation")]
    async fn delete(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        conversation_id: Path<i64>,
    ) -> Result<ConversationDeleted, Problem> {
        app.conversations
            .delete(caller.0, ConversationId(conversation_id.0))
            .await?;
        Ok(ConversationDeleted::Done)
    }

    /// List the messages of a conversation
    ///
    /// Newest first, or oldest first with `order=asc`. Edited and regenerated messages are listed beside the earlier ones; `parent_id`
    /// says what each belongs to. A running answer has its text so far. A page with more than 4 MiB of text ends early, after one message
    /// at least; `next_cursor` goes on there. Costs one request of the default limit.
    #[oai(path = "/:conversation_id/messages", method = "get", operation_id = "listMessages")]
    async fn messages(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        conversation_id: Path<i64>,
        /// The most items on a page; default 20.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<i64>>,
        /// `next_cursor` of the previous page.
        cursor: Query<Option<String>>,
        /// Default `desc`: newest first.
        order: Query<Option<OrderView>>,
    ) -> Result<MessageList, Problem> {
        let id = conversation_id.0;
        let limit = limit.0.unwrap_or(DEFAULT_LIMIT);
        let (order, word) = match order.0 {
            Some(OrderView::Asc) => (Order::Ascending, "asc"),
            Some(OrderView::Desc) | None => (Order::Descending, "desc"),
        };
        let after = read_cursor(cursor.0.as_deref())?;
        let wanted = u32::try_from(limit).unwrap_or(1);
        let page = app
            .messages
            .list(caller.0, ConversationId(id), order, after, wanted)
            .await?;
        let path = format!("/conversations/{id}/messages");
        let links = PageLinks::of(&page, &path, &[("limit", &limit.to_string()), ("order", word)]);
        let body = MessagePage {
            items: page.items.into_iter().map(Into::into).collect(),
            has_more: links.next_cursor.is_some(),
            next_cursor: links.next_cursor,
        };
        Ok(MessageList::Page(WrittenJson(body), links.total, links.link))
    }
}
