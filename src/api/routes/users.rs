//! `/users/me`: the profile of the caller, and the end of the account.

use cura_app::App;
use cura_app::profile::{ChangeProfileError, ProfileChange};
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::MaybeUndefined;
use poem_openapi::{ApiResponse, Object, OpenApi};

use crate::http::caller::SignedIn;
use crate::http::payload::checked::{Checked, LanguageField, NameField, TimeZoneField};
use crate::http::payload::preferences::{self, PreferencesField};
use crate::http::payload::{JsonBody, JudgedBody};
use crate::http::problem::{FieldError, Problem};
use crate::http::rate_limit::RateLimit;
use crate::routes::tag::Tag;
use crate::views::user::UserView;

pub(crate) struct UsersApi;

/// The profile fields to change; absent ones stay.
#[derive(Object)]
struct UpdateProfileRequest {
    /// The user's name; null removes it.
    #[oai(nullable)]
    name: MaybeUndefined<Checked<NameField>>,
    /// An IANA time zone.
    timezone: Option<Checked<TimeZoneField>>,
    /// A BCP 47 language tag.
    language: Option<Checked<LanguageField>>,
    /// Merged into the existing ones (RFC 7396): null removes. At most 16 KiB, 8 levels deep.
    preferences: Option<PreferencesField>,
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
    ///
    /// The account of the caller, with its preferences. Costs one request of the default limit.
    #[oai(path = "/me", method = "get", operation_id = "getMe")]
    async fn me(&self, caller: SignedIn, app: Data<&App>) -> Result<Json<UserView>, Problem> {
        let user = app.profile.find(caller.0).await?.ok_or_else(Problem::not_signed_in)?;
        Ok(Json(user.into()))
    }

    /// Update my profile
    ///
    /// Changes the fields that are in the body; absent ones stay. `name: null` removes the name. `preferences` is a merge patch (RFC
    /// 7396): what it names is replaced, null removes, everything else stays; merged, they have at most 16 KiB and 8 levels. All invalid
    /// fields are named at once in a 422, and then nothing is changed. The same request again changes nothing more. Costs one request of
    /// the default limit.
    #[oai(path = "/me", method = "patch", operation_id = "updateMe")]
    async fn update(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        body: JudgedBody<UpdateProfileRequest>,
    ) -> Result<Json<UserView>, Problem> {
        let body = match body.0 {
            Ok(body) => body,
            Err(mut invalid) => {
                // Whether they fit to those that are stored is part of what is wrong.
                if let Some(patch) = invalid.valid_field(preferences::POINTER) {
                    match app.profile.check_preferences(caller.0, patch).await {
                        Err(ChangeProfileError::Preferences(faults)) => {
                            invalid.extend(faults.iter().map(FieldError::from));
                        }
                        checked => checked?,
                    }
                }
                return Err(invalid.into());
            }
        };
        let name = match body.name {
            MaybeUndefined::Undefined => None,
            MaybeUndefined::Null => Some(None),
            MaybeUndefined::Value(name) => Some(name.0),
        };
        let change = ProfileChange {
            name,
            timezone: body.timezone.map(|timezone| timezone.0),
            language: body.language.map(|language| language.0),
            preferences: body.preferences.map(|preferences| preferences.0),
        };
        Ok(Json(app.profile.change(caller.0, change).await?.into()))
    }

    /// Erase my account and all its data
    ///
    /// Needs the password; a wrong one is a 403 `wrong_password`. Everything is invisible at once and deleted soon after: messages,
    /// files, devices, queued work. All sessions, streams and sockets end. This cannot be undone. Repeated, it is a 401, because the
    /// token is dead. Costs the sign-in limit, 5 a minute by address unless set otherwise.
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
            ChangeProfileError::Preferences(faults) => Self::invalid(faults.iter().map(FieldError::from).collect()),
            ChangeProfileError::Store(error) => error.into(),
        }
    }
}
