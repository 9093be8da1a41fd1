//! A user as clients see it.

use chrono::{DateTime, Utc};
use cura_app::profile::User;
use poem_openapi::Object;

use crate::http::payload::preferences::PreferencesField;

/// A user.
#[derive(Object)]
#[oai(rename = "User")]
pub(crate) struct UserView {
    id: i64,
    email: String,
    name: Option<String>,
    avatar_url: Option<String>,
    preferences: PreferencesField,
    /// An IANA time zone.
    timezone: String,
    /// A BCP 47 language tag.
    language: String,
    last_seen: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            id: user.id.0,
            email: user.email,
            name: user.name,
            avatar_url: user.avatar_url,
            preferences: PreferencesField(user.preferences),
            timezone: user.timezone,
            language: user.language,
            last_seen: user.last_seen,
            created_at: user.created_at,
        }
    }
}
