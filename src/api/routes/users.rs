//! `/users/me`: the profile of the caller, and the end of the account.

use cura_app::App;
use cura_app::profile::{ChangeProfileError, ProfileChange};
use cura_domain::account::Name;
use cura_domain::profile::{Language, TimeZone};
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::MaybeUndefined;
use poem_openapi::{ApiResponse, Object, OpenApi};

use crate::http::caller::SignedIn;
use crate::http::fields::Fields;
use crate::http::payload::JsonBody;
use crate::http::problem::{FieldError, Problem};
use crate::http::rate_limit::RateLimit;
use crate::routes::tag::Tag;
use crate::views::user::UserView;

pub(crate) struct UsersApi;

/// The profile fields to change; absent ones stay.
#[derive(Object)]
struct UpdateProfileRequest {
    /// The user's name; null removes it.
    #[oai(nullable, validator(max_length = 100))]
    name: MaybeUndefined<String>,
    /// An IANA time zone.
    #[oai(validator(max_length = 64))]
    timezone: Option<String>,
    /// A BCP 47 language tag.
    #[oai(validator(max_length = 64))]
    language: Option<String>,
    /// Merged into the existing ones (RFC 7396): null removes. At most 16 KiB, 8 levels deep.
    preferences: Option<serde_json::Value>,
}

/// Confirms that the caller owns the account.
#[derive(Object)]
struct EraseAccountRequest {
    /// The password of the account.
    #[oai(validator(max_length = 128))]
    password: String,
}

#[derive(ApiResponse)]
enum AccountErased {
    /// The account is erased.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/users", tag = "Tag::Accounts")]
impl UsersApi {
    /// Get my profile
    #[oai(path = "/me", method = "get", operation_id = "getMe")]
    async fn me(&self, caller: SignedIn, app: Data<&App>) -> Result<Json<UserView>, Problem> {
        let user = app.profile.find(caller.0).await?.ok_or_else(Problem::not_signed_in)?;
        Ok(Json(user.into()))
    }

    /// Update my profile
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

    /// Erase my account and all its data
    ///
    /// This cannot be undone.
    #[oai(path = "/me", method = "delete", operation_id = "deleteMe")]
    async fn erase(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        rate_limit: &RateLimit,
        body: JsonBody<EraseAccountRequest>,
    ) -> Result<AccountErased, Problem> {
        let place = rate_limit.place();
        app.accounts.erase(caller.0, &body.0.password, &place).await?;
        Ok(AccountErased::Done)
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
