//! A conversation as clients see it.

use chrono::{DateTime, Utc};
use cura_app::conversations::Conversation;
use cura_domain::conversation::ConversationStatus;
use poem_openapi::{Enum, Object};
use serde::{Serialize, Serializer};

use crate::http::payload::written;

/// Whether a conversation is in the main list.
#[derive(Enum, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
#[oai(rename = "ConversationStatus", rename_all = "lowercase")]
pub(crate) enum StatusView {
    Active,
    Archived,
}

/// A conversation.
#[derive(Object, Serialize)]
#[oai(rename = "Conversation")]
pub(crate) struct ConversationView {
    /// The id of the conversation.
    id: i64,
    /// At most 255 characters: the user's own, else one that was generated; null before the first message.
    title: Option<String>,
    /// Whether it is in the main list or archived.
    status: StatusView,
    /// Whether nothing is pushed for it.
    muted: bool,
    /// When it was created.
    #[serde(serialize_with = "written::time")]
    created_at: DateTime<Utc>,
    /// When a message was stored in it, an answer in it ended, or its title, status or muting changed.
    #[serde(serialize_with = "written::time")]
    updated_at: DateTime<Utc>,
    /// Null if there are no messages.
    #[serde(serialize_with = "last_message_at")]
    last_message_at: Option<DateTime<Utc>>,
    /// The number of its messages, answers and earlier versions included.
    message_count: i32,
    /// Whether an answer is being written.
    busy: bool,
}

fn last_message_at<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => written::time(time, serializer),
        None => serializer.serialize_none(),
    }
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
            muted: conversation.muted,
            created_at: conversation.created_at,
            updated_at: conversation.updated_at,
            last_message_at: (conversation.message_count > 0).then_some(conversation.last_message_at),
            message_count: conversation.message_count,
            busy: conversation.busy,
        }
    }
}

#[cfg(test)]
mod tests {
    use cura_domain::ConversationId;
    use poem_openapi::types::ToJSON;

    use super::*;

    #[test]
    fn a_conversation_is_written_as_it_is_described() {
        for (status, title, message_count) in [
            (ConversationStatus::Active, None, 0),
            (ConversationStatus::Archived, Some("title".to_owned()), 3),
        ] {
            let view = ConversationView::from(Conversation {
                id: ConversationId(1),
                title,
                status,
                muted: message_count > 0,
                created_at: DateTime::UNIX_EPOCH,
                updated_at: DateTime::UNIX_EPOCH,
                last_message_at: DateTime::UNIX_EPOCH,
                message_count,
                busy: message_count > 0,
            });
            assert_eq!(serde_json::to_value(&view).unwrap(), view.to_json().unwrap());
        }
    }
}
