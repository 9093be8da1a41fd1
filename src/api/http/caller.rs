//! The caller of a request: an access token, a ticket or a stream token, checked against its session.

use cura_app::sessions::AuthenticateError;
use cura_app::{App, Caller};
use poem::http::header;
use poem::{Request, RequestBody, Result};
use poem_openapi::auth::{ApiKey, Bearer};
use poem_openapi::registry::Registry;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions, SecurityScheme};

use crate::http::operation::Operation;
use crate::http::policy::Authentication;
use crate::http::problem::Problem;
use crate::http::rate_limit::RateLimit;

/// The access token from `/auth/register`, `/auth/login` or `/auth/refresh`, as `Authorization: Bearer …`.
#[derive(SecurityScheme)]
#[oai(
    ty = "bearer",
    bearer_format = "JWT",
    rename = "access_token",
    checker = "authenticate"
)]
pub(crate) struct SignedIn(pub(crate) Caller);

/// A ticket from `/auth/ticket`, as `?ticket=…`, for `EventSource`, which cannot send headers.
#[derive(SecurityScheme)]
#[oai(
    ty = "api_key",
    key_in = "query",
    key_name = "ticket",
    rename = "ticket",
    checker = "use_ticket"
)]
pub(crate) struct WithTicket(pub(crate) Caller);

/// A stream token from `/auth/ticket`, as `?stream_token=…`, for `EventSource`, which reconnects by itself.
#[derive(SecurityScheme)]
#[oai(
    ty = "api_key",
    key_in = "query",
    key_name = "stream_token",
    rename = "stream_token",
    checker = "use_stream_token"
)]
pub(crate) struct WithStreamToken(pub(crate) Caller);

/// The caller of a stream: by access token, or, without one, by stream token or ticket.
pub(crate) struct StreamAuth(pub(crate) Caller);

impl<'a> ApiExtractor<'a> for StreamAuth {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <SignedIn as ApiExtractor>::register(registry);
        <WithTicket as ApiExtractor>::register(registry);
        <WithStreamToken as ApiExtractor>::register(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        let schemes = [
            <SignedIn as ApiExtractor>::security_schemes(),
            <WithTicket as ApiExtractor>::security_schemes(),
            <WithStreamToken as ApiExtractor>::security_schemes(),
        ];
        schemes.concat()
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        // A client that sends a token learns what is wrong with the token, not that a ticket is missing.
        if request.headers().contains_key(header::AUTHORIZATION) {
            let by_token = <SignedIn as ApiExtractor>::from_request(request, body, options).await;
            by_token.map(|by| Self(by.0))
        } else if has_stream_token(request) {
            let by_token = <WithStreamToken as ApiExtractor>::from_request(request, body, options).await;
            by_token.map(|by| Self(by.0))
        } else {
            let by_ticket = <WithTicket as ApiExtractor>::from_request(request, body, options).await;
            by_ticket.map(|by| Self(by.0))
        }
    }
}

/// Checks the caller's session again, after a body that arrived slowly: the session may have ended meanwhile. An operation that
/// needs no session does not look at the token that a client sends with everything.
///
/// # Errors
/// The same as at the beginning of the request.
pub(crate) async fn revalidate_session(request: &Request) -> Result<(), Problem> {
    if Operation::of(request).policy.authentication == Authentication::Public {
        return Ok(());
    }
    if let (Some(token), Some(app)) = (bearer_of(request), request.data::<App>()) {
        app.sessions.authenticate(token).await?;
    }
    Ok(())
}

/// The token of the `Authorization` header.
fn bearer_of(request: &Request) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    value.split_once(' ').map(|(_, token)| token.trim())
}

fn has_stream_token(request: &Request) -> bool {
    let parameters = request.params::<Vec<(String, String)>>().unwrap_or_default();
    parameters.iter().any(|(name, _)| name == "stream_token")
}

async fn use_stream_token(request: &Request, token: ApiKey) -> Result<Caller> {
    let app = request.data::<App>().ok_or_else(Problem::internal)?;
    let rate_limit = request.data::<RateLimit>().ok_or_else(Problem::internal)?;
    let token = app.sessions.read_stream_token(&token.key).map_err(Problem::from)?;
    let authorized = look_up(rate_limit, token.caller(), app.sessions.authorize_stream(&token)).await?;
    charge(request, authorized).await
}

async fn use_ticket(request: &Request, ticket: ApiKey) -> Result<Caller> {
    let app = request.data::<App>().ok_or_else(Problem::internal)?;
    let rate_limit = request.data::<RateLimit>().ok_or_else(Problem::internal)?;
    let caller = redeem(app, rate_limit, &ticket.key).await?;
    charge(request, caller).await
}

/// Authenticates a ticket and uses it up. One that is not ours, or is presented too often, does not reach the database.
///
/// # Errors
/// 401 or 403, or 429 if the session's limit is reached.
pub(crate) async fn redeem(app: &App, rate_limit: &RateLimit, ticket: &str) -> Result<Caller, Problem> {
    let ticket = app.sessions.read_ticket(ticket).ok_or_else(Problem::not_signed_in)?;
    rate_limit.charge_session(ticket.session).await?;
    Ok(app.sessions.redeem_ticket(&ticket).await?)
}

async fn authenticate(request: &Request, token: Bearer) -> Result<Caller> {
    let app = request.data::<App>().ok_or_else(Problem::internal)?;
    let rate_limit = request.data::<RateLimit>().ok_or_else(Problem::internal)?;
    let caller = authenticate_token(app, rate_limit, &token.token).await?;
    charge(request, caller).await
}

/// The caller that an access token names. Its limits are looked at before the database is asked, and not charged.
///
/// # Errors
/// 401 if the token is not valid, 403 if the account is suspended, 429 if a limit is reached.
pub(crate) async fn authenticate_token(app: &App, rate_limit: &RateLimit, token: &str) -> Result<Caller, Problem> {
    let token = app.sessions.verify(token)?;
    look_up(rate_limit, token.caller, app.sessions.authorize(&token)).await
}

/// Looks up the session of the caller that a token `claimed`, within its limits.
async fn look_up(
    rate_limit: &RateLimit,
    claimed: Caller,
    authorize: impl Future<Output = Result<Caller, AuthenticateError>>,
) -> Result<Caller, Problem> {
    rate_limit.admit_session(claimed).await?;
    let authorized = authorize.await.map_err(Problem::from);
    if authorized.as_ref().is_err_and(|problem| !problem.is_client_error()) {
        rate_limit.excuse_session(claimed).await;
    }
    authorized
}

async fn charge(request: &Request, caller: Caller) -> Result<Caller> {
    let rate_limit = request.data::<RateLimit>().ok_or_else(Problem::internal)?;
    rate_limit.charge_caller(caller).await?;
    Ok(caller)
}
