//! `/users/me`: who is signed in, what they used, and everything they have.

use chrono::{DateTime, NaiveDate, Utc};
use cura_app::App;
use cura_app::profile::User;
use cura_app::profile::{ChangeProfileError, ProfileChange, UsageDay};
use cura_domain::account::Name;
use cura_domain::profile::{Language, TimeZone};
use poem::web::Data;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::types::MaybeUndefined;
use poem_openapi::{ApiResponse, Object, OpenApi};

use crate::http::caller::SignedIn;
use crate::http::fields::Fields;
use crate::http::payload::JsonBody;
use crate::http::problem::{FieldError, Problem};
use crate::routes::export::ExportAnswer;
use crate::routes::tag::Tag;

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

/// Changes a profile; what is left out stays.
#[derive(Object)]
struct UpdateProfileRequest {
    /// What to call you; null for nothing.
    #[oai(nullable, validator(max_length = 100))]
    name: MaybeUndefined<String>,
    /// An IANA time zone.
    #[oai(validator(max_length = 64))]
    timezone: Option<String>,
    /// A BCP 47 language tag.
    #[oai(validator(max_length = 64))]
    language: Option<String>,
    /// Merged into the present ones (RFC 7396): null removes. At most 16 KiB, 8 levels deep.
    preferences: Option<serde_json::Value>,
}

/// Proves who asks for the end of the account.
#[derive(Object)]
struct EraseAccountRequest {
    /// The password of the account.
    #[oai(validator(max_length = 128))]
    password: String,
}

/// Tokens and answers.
#[derive(Object, Default)]
struct UsageTotal {
    /// How many answers.
    messages: i64,
    input_tokens: i64,
    output_tokens: i64,
    total_tokens: i64,
}

/// What one model answered on one day.
#[derive(Object)]
#[oai(rename = "UsageDay")]
struct UsageDayView {
    /// The day, in UTC.
    day: NaiveDate,
    model: String,
    /// How many answers.
    messages: i64,
    input_tokens: i64,
    output_tokens: i64,
    total_tokens: i64,
}

/// What was used.
#[derive(Object)]
struct UsageReport {
    /// By day and model, the newest day first.
    items: Vec<UsageDayView>,
    /// All of it.
    total: UsageTotal,
}

#[derive(ApiResponse)]
enum AccountErased {
    /// The account is gone, and everything in it.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/users", tag = "Tag::Accounts")]
impl UsersApi {
    /// Who I am
    #[oai(path = "/me", method = "get", operation_id = "getMe")]
    async fn me(&self, caller: SignedIn, app: Data<&App>) -> Result<Json<UserView>, Problem> {
        let user = app.profile.find(caller.0).await?.ok_or_else(Problem::not_signed_in)?;
        Ok(Json(user.into()))
    }

    /// Change my profile
    #[oai(path = "/me", method = "patch", operation_id = "updateMe")]
    async fn update(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        body: JsonBody<UpdateProfileRequest>,
    ) -> Result<Json<UserView>, Problem> {
        let body = body.0;
        let mut fields = Fields::default();
        let name = match body.name {
            MaybeUndefined::Undefined => Ok(None),
            MaybeUndefined::Null => Ok(Some(None)),
            MaybeUndefined::Value(name) => Name::new(&name).map(Some),
        };
        let name = fields.check("/name", "invalid_format", name);
        let timezone = body.timezone.as_deref().map(TimeZone::new).transpose();
        let timezone = fields.check("/timezone", "unknown_timezone", timezone);
        let language = body.language.as_deref().map(Language::new).transpose();
        let language = fields.check("/language", "unknown_language", language);
        let change = ProfileChange {
            name: name.flatten(),
            timezone: timezone.flatten(),
            language: language.flatten(),
            preferences: body.preferences,
        };
        let change = fields.finish(Some(change))?;
        Ok(Json(app.profile.change(caller.0, change).await?.into()))
    }

    /// Erase my account, and everything in it
    ///
    /// There is no way back.
    #[oai(path = "/me", method = "delete", operation_id = "deleteMe")]
    async fn erase(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        body: JsonBody<EraseAccountRequest>,
    ) -> Result<AccountErased, Problem> {
        app.accounts.erase(caller.0, &body.0.password).await?;
        Ok(AccountErased::Done)
    }

    /// What I used, by day and model
    #[oai(path = "/me/usage", method = "get", operation_id = "getUsage")]
    async fn usage(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        /// How many days back, today included; 30 unless said otherwise.
        #[oai(validator(minimum(value = "1"), maximum(value = "366")))]
        days: Query<Option<i64>>,
    ) -> Result<Json<UsageReport>, Problem> {
        let days = days.0.and_then(|days| u32::try_from(days).ok()).unwrap_or(30);
        let used = app.profile.usage(caller.0, days).await?;
        Ok(Json(UsageReport::of(used)))
    }

    /// Everything I have, as one archive
    ///
    /// JSON lines and a manifest with checksums. The first call begins to make it; it can be fetched for an hour.
    #[oai(path = "/me/export", method = "get", operation_id = "exportMe")]
    async fn export(&self, caller: SignedIn, app: Data<&App>) -> Result<ExportAnswer, Problem> {
        Ok(ExportAnswer::of(app.exports.get_or_start(caller.0).await?, app.clone()))
    }

    /// Throw the archive away
    ///
    /// The next one holds what there is then.
    #[oai(path = "/me/export", method = "delete", operation_id = "deleteExport")]
    async fn forget_export(&self, caller: SignedIn, app: Data<&App>) -> Result<ExportForgotten, Problem> {
        app.exports.delete(caller.0).await?;
        Ok(ExportForgotten::Done)
    }
}

#[derive(ApiResponse)]
enum ExportForgotten {
    /// There is no archive; the next call makes a new one.
    #[oai(status = 204)]
    Done,
}

impl UsageReport {
    fn of(used: Vec<UsageDay>) -> Self {
        let mut total = UsageTotal::default();
        let view = |day: UsageDay| {
            let view = UsageDayView {
                day: day.day,
                model: day.model,
                messages: day.messages.into(),
                input_tokens: day.input_tokens,
                output_tokens: day.output_tokens,
                total_tokens: day.input_tokens.saturating_add(day.output_tokens),
            };
            total.messages += view.messages;
            total.input_tokens += view.input_tokens;
            total.output_tokens += view.output_tokens;
            total.total_tokens += view.total_tokens;
            view
        };
        let items = used.into_iter().map(view).collect();
        Self { items, total }
    }
}

impl From<ChangeProfileError> for Problem {
    fn from(error: ChangeProfileError) -> Self {
        match error {
            ChangeProfileError::NotSignedIn => Self::not_signed_in(),
            ChangeProfileError::Preferences(error) => {
                let pointer = format!("/preferences{}", error.pointer());
                Self::invalid(vec![FieldError::new(pointer, "invalid_preferences", error.to_string())])
            }
            ChangeProfileError::Store(error) => error.into(),
        }
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
