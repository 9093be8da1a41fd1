//! A user as clients see it.

use chrono::{DateTime, Utc};
use cura_app::profile::User;
use poem_openapi::Object;

use crate::http::payload::preferences::PreferencesField;

/// A user.
#[derive(Object)]
#[oai(rename = "User")]
pub(crate) struct UserView {
    /// The id of the user.
    id: i64,
    /// The e-mail address, as it was normalised: in lower case, with the domain in ASCII.
    email: String,
    /// The user's name, at most 100 characters; null if none is given.
    name: Option<String>,
    /// The path of the picture on this server; null if there is none. `?size=128` gives the small one.
    avatar_url: Option<String>,
    /// What the user prefers, and what clients store with it.
    preferences: PreferencesField,
    /// An IANA time zone.
    timezone: String,
    /// A BCP 47 language tag.
    language: String,
    /// When the user last made a request, to the minute; null if never.
    last_seen: Option<DateTime<Utc>>,
    /// When the account was created.
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
