//! Users: what a person with an account has told about themselves.

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
    /// What they are called.
    pub name: Option<String>,
    /// Where their picture is.
    pub avatar_url: Option<String>,
    /// Whatever the clients keep there, and what Cura reads of it.
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
