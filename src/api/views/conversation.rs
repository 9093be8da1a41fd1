//! A conversation as clients see it.

use chrono::{DateTime, Utc};
use cura_app::conversations::Conversation;
use cura_domain::conversation::ConversationStatus;
use poem_openapi::{Enum, Object};

/// Whether a conversation is in the main list.
#[derive(Enum, Clone, Copy)]
#[oai(rename = "ConversationStatus", rename_all = "lowercase")]
pub(crate) enum StatusView {
    Active,
    Archived,
}

/// A conversation.
#[derive(Object)]
#[oai(rename = "Conversation")]
pub(crate) struct ConversationView {
    id: i64,
    title: Option<String>,
    status: StatusView,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// Null if there are no messages.
    last_message_at: Option<DateTime<Utc>>,
    message_count: i32,
    /// Whether an answer is being written.
    busy: bool,
}

impl From<StatusView> for ConversationStatus {
    fn from(status: StatusView) -> Self {
        match status {
            StatusView::Active => Self::Active,
            StatusView::Archived => Self::Archived,
        }
    }
}

impl From<Conversation> for ConversationView {
    fn from(conversation: Conversation) -> Self {
        Self {
            id: conversation.id.0,
            title: conversation.title,
            status: match conversation.status {
                ConversationStatus::Active => StatusView::Active,
                ConversationStatus::Archived => StatusView::Archived,
            },
            created_at: conversation.created_at,
            updated_at: conversation.updated_at,
            last_message_at: (conversation.message_count > 0).then_some(conversation.last_message_at),
            message_count: conversation.message_count,
            busy: conversation.busy,
        }
    }
}
