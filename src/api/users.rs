//! `/users/me`: who is signed in.

use chrono::{DateTime, Utc};
use cura_app::App;
use cura_app::accounts::User;
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use crate::Tag;
use crate::caller::SignedIn;
use crate::problem::Problem;

pub(crate) struct UsersApi;

/// A person with an account.
#[derive(Object)]
#[oai(rename = "User")]
pub(crate) struct UserView {
    id: i64,
    email: String,
    name: Option<String>,
    avatar_url: Option<String>,
    /// What this person likes; any object.
    preferences: serde_json::Value,
    /// An IANA time zone.
    timezone: String,
    /// A BCP 47 language tag.
    language: String,
    last_seen: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

#[OpenApi(prefix_path = "/users", tag = "Tag::Accounts")]
impl UsersApi {
    /// Who I am
    #[oai(path = "/me", method = "get", operation_id = "getMe")]
    async fn me(&self, caller: SignedIn, app: Data<&App>) -> Result<Json<UserView>, Problem> {
        let user = app.profile(caller.0).await?.ok_or_else(Problem::not_signed_in)?;
        Ok(Json(user.into()))
    }
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            id: user.id.0,
            email: user.email,
            name: user.name,
            avatar_url: user.avatar_url,
            preferences: user.preferences,
            timezone: user.timezone,
            language: user.language,
            last_seen: user.last_seen,
            created_at: user.created_at,
        }
    }
}
