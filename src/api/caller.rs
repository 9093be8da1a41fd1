//! Who makes a request: the access token, or a ticket, checked against the session it belongs to.

use cura_app::accounts::AuthenticateError;
use cura_app::{App, Caller};
use poem::http::StatusCode;
use poem::{Request, Result};
use poem_openapi::SecurityScheme;
use poem_openapi::auth::{ApiKey, Bearer};

use crate::limits::Turn;
use crate::problem::Problem;

/// The access token from `/auth/register`, `/auth/login` or `/auth/refresh`, as `Authorization: Bearer …`.
#[derive(SecurityScheme)]
#[oai(
    ty = "bearer",
    bearer_format = "JWT",
    rename = "access_token",
    checker = "authenticate"
)]
pub struct SignedIn(pub Caller);

/// A ticket from `/auth/ticket`, as `?ticket=…`, for `EventSource`, which cannot send headers.
#[derive(SecurityScheme)]
#[oai(
    ty = "api_key",
    key_in = "query",
    key_name = "ticket",
    rename = "ticket",
    checker = "use_ticket"
)]
pub struct WithTicket(pub Caller);

/// Who watches: by access token, or by ticket.
#[derive(SecurityScheme)]
pub enum Watcher {
    /// By access token.
    SignedIn(SignedIn),
    /// By ticket.
    WithTicket(WithTicket),
}

impl Watcher {
    pub(crate) fn caller(&self) -> Caller {
        match self {
            Self::SignedIn(by) => by.0,
            Self::WithTicket(by) => by.0,
        }
    }
}

async fn use_ticket(request: &Request, ticket: ApiKey) -> Result<Caller> {
    let app = request.data::<App>().ok_or_else(Problem::internal)?;
    let caller = app.use_ticket(&ticket.key).await.map_err(Problem::from)?;
    spend(request, caller).await
}

async fn authenticate(request: &Request, token: Bearer) -> Result<Caller> {
    let app = request.data::<App>().ok_or_else(Problem::internal)?;
    let caller = app.authenticate(&token.token).await.map_err(Problem::from)?;
    spend(request, caller).await
}

async fn spend(request: &Request, caller: Caller) -> Result<Caller> {
    let turn = request.data::<Turn>().ok_or_else(Problem::internal)?;
    turn.of_caller(caller).await?;
    Ok(caller)
}

impl From<AuthenticateError> for Problem {
    fn from(error: AuthenticateError) -> Self {
        match error {
            AuthenticateError::NotSignedIn => Self::not_signed_in(),
            AuthenticateError::Suspended => Self::suspended(),
            AuthenticateError::Store(error) => error.into(),
        }
    }
}

impl Problem {
    /// 403: the account is suspended.
    pub(crate) fn suspended() -> Self {
        Self::new(StatusCode::FORBIDDEN, "account_suspended", "This account is suspended.")
    }
}
