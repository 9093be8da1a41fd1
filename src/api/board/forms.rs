//! Signing in and out by plain forms, and the cookie in between.

use std::time::Duration;

use chrono::TimeDelta;
use cura_app::accounts::SignInFrom;
use cura_app::operate::page_sessions::PageSignInError;
use cura_domain::account::Email;
use poem::error::ResponseError;
use poem::http::{HeaderMap, HeaderValue, StatusCode, header};
use poem::{Request, Response};

use super::{Board, SIGN_IN, own_name, see_other, sign_in_page};
use crate::http::policy::RateClass;
use crate::http::problem::Problem;
use crate::http::rate_limit::RateLimit;

/// The name of the cookie.
const COOKIE: &str = "cura_page";
/// The largest form, in bytes: address and password, escaped.
const MAX_FORM_BYTES: usize = 4096;
/// The longest password that is checked, in characters, as for everybody.
const MAX_PASSWORD_CHARS: usize = 128;
/// When to try again after a refusal that does not say it.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// What the cookie of our page holds.
pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter();
    let pairs = cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'));
    let mut ours = pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE);
    ours.next().map(|(_, value)| value)
}

/// The header that sets the cookie, or takes it away.
fn set_cookie(value: &str, lasts: TimeDelta, is_loopback: bool) -> Option<HeaderValue> {
    let seconds = lasts.num_seconds().max(0);
    let secure = if is_loopback { "" } else { "; Secure" };
    HeaderValue::try_from(format!(
        "{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
    ))
    .ok()
}

/// Address and password; `None` if the form has none that could be right.
async fn read(mut request: Request) -> Result<Option<(Email, String)>, Problem> {
    let body = request.take_body().into_bytes_limit(MAX_FORM_BYTES).await;
    let body = body.map_err(|_| Problem::too_large())?;
    let field = |wanted: &str| {
        let mut fields = form_urlencoded::parse(&body).filter(|(name, _)| name == wanted);
        fields.next().map(|(_, value)| value.into_owned())
    };
    let email = field("email").and_then(|email| Email::new(&email).ok());
    let password = field("password").filter(|password| password.chars().nth(MAX_PASSWORD_CHARS).is_none());
    Ok(email.zip(password))
}

impl Board {
    /// Signs an admin in; else shows the form again, and why.
    pub(super) async fn sign_in(&self, request: Request) -> Response {
        let is_loopback = own_name::is_on_own_machine(request.headers());
        match self.try_sign_in(request).await {
            Ok((token, lasts)) => {
                let mut response = see_other("/");
                if let Some(cookie) = set_cookie(&token, lasts, is_loopback) {
                    response.headers_mut().insert(header::SET_COOKIE, cookie);
                }
                response
            }
            Err(problem) => {
                let mut response = sign_in_page::respond(problem.status(), Some(problem.detail()));
                if problem.is_retryable() {
                    let after = problem.retry_after().unwrap_or(TRY_AGAIN_AFTER).as_secs().max(1);
                    response
                        .headers_mut()
                        .insert(header::RETRY_AFTER, HeaderValue::from(after));
                }
                response
            }
        }
    }

    async fn try_sign_in(&self, request: Request) -> Result<(String, TimeDelta), Problem> {
        let limit = RateLimit::of(&self.limits, &request, RateClass::SignIn);
        limit.charge_stranger().await?;
        let from = match limit.refused_unless_known() {
            Some(_) => SignInFrom::KnownPlace,
            None => SignInFrom::Anywhere,
        };
        let wrong = || {
            let detail = "E-mail address and password do not match.";
            Problem::new(StatusCode::UNAUTHORIZED, "invalid_credentials", detail)
        };
        let (email, password) = read(request).await?.ok_or_else(wrong)?;
        let signed_in = self.sessions.sign_in(&email, &password, &limit.place(), from).await;
        let token = signed_in.map_err(|error| match error {
            PageSignInError::SignIn(error) => error.into(),
            PageSignInError::NotAdmin(_) => {
                Problem::new(StatusCode::FORBIDDEN, "not_admin", "This account is not an admin's.")
            }
            PageSignInError::Store(error) => error.into(),
        });
        // Who is refused by address is told that, and not that a password which nobody looked at is wrong.
        let token = token.map_err(|problem: Problem| match limit.refused_unless_known() {
            Some(refusal) if problem.status() == StatusCode::UNAUTHORIZED => refusal,
            _ => problem,
        })?;
        Ok((token.text, token.expires_in))
    }

    /// Ends the session of the cookie, and takes the cookie away.
    pub(super) async fn sign_out(&self, request: &Request) -> Result<Response, Problem> {
        // Also of who is no admin any more: they may be made one again.
        if let Some(token) = cookie(request.headers()) {
            self.sessions.sign_out(token).await?;
        }
        let mut response = see_other(SIGN_IN);
        if let Some(cookie) = set_cookie("", TimeDelta::zero(), own_name::is_on_own_machine(request.headers())) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, HeaderValue::from_static(value));
            cookie(&headers).map(str::to_owned)
        };
        assert_eq!(of("a=b; cura_page=x.y=; c=d"), Some("x.y=".to_owned()));
        assert_eq!((of("a=b"), of("xcura_page=y"), of("cura_page")), (None, None, None));
    }

    #[test]
    fn the_cookie_is_read_by_no_script_sent_by_no_other_page_and_never_in_clear_over_a_network() {
        let set = |is_loopback| set_cookie("x", TimeDelta::hours(8), is_loopback).unwrap();
        assert_eq!(
            set(true),
            "cura_page=x; Path=/; Max-Age=28800; HttpOnly; SameSite=Strict"
        );
        assert_eq!(
            set(false),
            "cura_page=x; Path=/; Max-Age=28800; HttpOnly; SameSite=Strict; Secure"
        );
    }
}
