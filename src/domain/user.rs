//! Users and their profiles.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::UserId;

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
