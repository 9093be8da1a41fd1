//! Users and their profiles.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::{ConversationId, MessageId, SessionId, UserId};

/// A user's profile.
#[derive(Debug, Clone)]
pub struct User {
    /// The user.
    pub id: UserId,
    /// Normalised address.
    pub email: String,
    /// Their name.
    pub name: Option<String>,
    /// The URL of their picture.
    pub avatar_url: Option<String>,
    /// A JSON object of the clients; Cura reads some of it.
    pub preferences: Value,
    /// IANA time zone.
    pub timezone: String,
    /// BCP 47 language tag.
    pub language: String,
    /// When they were last active.
    pub last_seen: Option<DateTime<Utc>>,
    /// When they registered.
    pub created_at: DateTime<Utc>,
}

/// A user, as operators see one.
#[derive(Debug, Clone, Serialize)]
pub struct KnownUser {
    /// The user.
    pub id: UserId,
    /// Normalised address; `None` once the account is being erased, whose address is free.
    pub email: Option<String>,
    /// Their name.
    pub name: Option<String>,
    /// When they registered.
    pub created_at: DateTime<Utc>,
    /// When they were last active.
    pub last_seen: Option<DateTime<Utc>>,
    /// Since when the account is suspended.
    pub suspended_at: Option<DateTime<Utc>>,
    /// Whether they may use the pages of operators.
    pub is_admin: bool,
    /// Since when the account is being erased.
    pub erasing_since: Option<DateTime<Utc>>,
}

/// Where a user is signed in, as operators see it: without the name of the device, which is the user's.
#[derive(Debug, Clone, Serialize)]
pub struct KnownSession {
    /// The session.
    pub id: SessionId,
    /// When the user signed in.
    pub created_at: DateTime<Utc>,
    /// When it was last refreshed.
    pub last_used_at: DateTime<Utc>,
    /// When it expires.
    pub expires_at: DateTime<Utc>,
}

/// An unfinished answer of a user, as operators see it.
#[derive(Debug, Clone, Serialize)]
pub struct KnownAnswer {
    /// The answer.
    pub message_id: MessageId,
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// How often it was begun; 0: it waits.
    pub attempt: i32,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
}

/// How much a user has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct UserCounts {
    /// Conversations that are not deleted, as far as they are counted.
    pub conversations: i64,
    /// Messages of both sides, as far as they are counted.
    pub messages: i64,
    /// Files, as far as they are counted.
    pub files: i64,
}
