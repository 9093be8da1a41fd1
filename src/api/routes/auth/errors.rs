//! What the errors of signing in and changing passwords mean to a client.

use std::time::Duration;

use cura_app::accounts::ChangePasswordError;
use cura_app::sessions::SignInError;
use cura_app::sign_in_guard::TooManyFailures;
use poem::http::StatusCode;

use crate::http::problem::Problem;
use crate::http::rate_limit::whole_seconds;

impl From<SignInError> for Problem {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::EmailTaken => Self::new(
                StatusCode::CONFLICT,
                "email_taken",
                "An account with this e-mail address exists already.",
            ),
            SignInError::WrongCredentials | SignInError::NotChecked => Self::new(
                StatusCode::UNAUTHORIZED,
                "invalid_credentials",
                "E-mail address and password do not match.",
            ),
            SignInError::InvalidToken => Self::new(
                StatusCode::UNAUTHORIZED,
                "invalid_refresh_token",
                "The refresh token is invalid or expired.",
            ),
            SignInError::Suspended => Self::suspended(),
            SignInError::TooManyFailures(error) => error.into(),
            SignInError::Password(error) => error.into(),
            SignInError::Signing(error) => {
                tracing::error!(%error, "signing the access token failed");
                Self::internal()
            }
            SignInError::Store(error) => error.into(),
        }
    }
}

impl From<TooManyFailures> for Problem {
    fn from(error: TooManyFailures) -> Self {
        let detail = "Too many wrong passwords for this account; please try again later.";
        let wait = Duration::from_secs(whole_seconds(error.wait));
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).with_used_up(error.free, wait)
    }
}

impl From<ChangePasswordError> for Problem {
    fn from(error: ChangePasswordError) -> Self {
        match error {
            ChangePasswordError::WrongPassword => Self::new(
                StatusCode::FORBIDDEN,
                "wrong_password",
                "The current password is wrong.",
            ),
            ChangePasswordError::TooManyFailures(error) => error.into(),
            ChangePasswordError::Password(error) => error.into(),
            ChangePasswordError::Renew(SignInError::InvalidToken) => Self::not_signed_in(),
            ChangePasswordError::Renew(error) => error.into(),
            ChangePasswordError::Store(error) => error.into(),
        }
    }
}
