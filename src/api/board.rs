//! The operators' page: the queue as apalis-board shows it, for admins, on a port of its own.
//!
//! Nobody changes anything here: besides signing in and out there is only GET. What it reads, it reads over connections of its own, which
//! write nothing and give a statement two seconds, so a slow page is a 503 and never the queue's trouble. A page of another origin, and a
//! name that is not this server's, are refused before anything is looked at.

mod assets;
mod forms;
mod listing;
mod own_name;
mod sign_in_page;

use std::sync::Arc;
use std::time::Duration;

use cura_app::Caller;
use cura_app::operate::page_sessions::PageSessions;
use cura_domain::Entropy;
use poem::endpoint::{ToDynEndpoint, make};
use poem::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use poem::{Request, Response};
use tokio::time::timeout;

use crate::Api;
use crate::http::problem::Problem;
use crate::http::rate_limit::RateLimits;
use crate::http::request_id;
use assets::Assets;
use listing::Listing;
use own_name::OwnName;

pub use listing::PgPool;

/// How long a request may take: a password waits for its turn, a listing for a connection and a statement.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// When a page that could not be made may be asked for again.
const PAGE_RETRY_AFTER: Duration = Duration::from_secs(10);
/// Where the listings are that the page asks for.
const LISTINGS: &str = "/api/v1";
/// Where one signs in.
const SIGN_IN: &str = "/sign-in";
/// Where one signs out.
const SIGN_OUT: &str = "/sign-out";
/// What a page that answers by GET says of itself.
const ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD");

/// What the page depends on.
pub struct BoardParts {
    /// Who is signed in.
    pub sessions: PageSessions,
    /// The limits that signing in shares with the API.
    pub limits: RateLimits,
    /// Connections that write nothing.
    pub pool: PgPool,
    /// The host that the page listens on, as it is configured.
    pub host: String,
    /// For request ids.
    pub entropy: Entropy,
}

struct Board {
    sessions: PageSessions,
    limits: RateLimits,
    listing: Listing,
    assets: Assets,
    own_name: OwnName,
    entropy: Entropy,
}

/// The operators' page, ready to be served.
pub fn board(parts: BoardParts) -> Api {
    let board = Arc::new(Board {
        sessions: parts.sessions,
        limits: parts.limits,
        listing: Listing::new(&parts.pool),
        assets: Assets::new(),
        own_name: OwnName::new(&parts.host),
        entropy: parts.entropy,
    });
    Arc::new(ToDynEndpoint(make(move |request: Request| {
        let board = Arc::clone(&board);
        async move { board.answer(request).await }
    })))
}

impl Board {
    async fn answer(&self, request: Request) -> Response {
        let answered = timeout(PAGE_TIMEOUT, self.route(request)).await;
        let answered = answered.unwrap_or_else(|_| Err(not_now()));
        let mut response = answered.unwrap_or_else(|problem| problem.render(&request_id::generate(&self.entropy)));
        protect(response.headers_mut());
        response
    }

    async fn route(&self, request: Request) -> Result<Response, Problem> {
        let by_proxy = self.limits.trusts_peer(&request);
        if !self.own_name.is_asked(&request) {
            let detail = "This is not the name of this server; see ADMIN_HOST.";
            return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "unknown_host", detail));
        }
        let path = request.uri().path().to_owned();
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let is_form = *request.method() == Method::POST && [SIGN_IN, SIGN_OUT].contains(&path.as_str());
        if !is_read && !is_form {
            let detail = "This page changes nothing: it is read by GET.";
            let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail);
            return Err(problem.with_allow(ALLOW));
        }
        if own_name::is_foreign(&request, by_proxy) {
            let detail = "Pages of other origins may not use this one.";
            return Err(Problem::new(StatusCode::FORBIDDEN, "origin_not_allowed", detail));
        }
        match (is_form, path.as_str()) {
            (true, SIGN_IN) => Ok(self.sign_in(request).await),
            (true, _) => self.sign_out(&request).await,
            (false, SIGN_IN) => Ok(sign_in_page::respond(StatusCode::OK, None)),
            (false, SIGN_OUT) => Err(Problem::not_found("not_found", "One signs out by the page's button.")),
            (false, path) => self.read(&request, path).await,
        }
    }

    /// A listing, or a part of the page, for an admin. Anybody else is led to where one signs in.
    async fn read(&self, request: &Request, path: &str) -> Result<Response, Problem> {
        let is_listing = path
            .strip_prefix(LISTINGS)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match self.admin(request).await? {
            None if is_listing => Err(signed_out()),
            None => Ok(see_other(SIGN_IN)),
            Some(_) if is_listing => {
                let listed = self.listing.answer(request.uri()).await?;
                // It may have taken seconds: who is none any more gets nothing of it.
                match self.admin(request).await? {
                    Some(_) => Ok(listed),
                    None => Err(signed_out()),
                }
            }
            Some(_) => self.assets.respond(path),
        }
    }

    /// The admin whose cookie the request has, looked up each time.
    async fn admin(&self, request: &Request) -> Result<Option<Caller>, Problem> {
        match forms::cookie(request.headers()) {
            Some(token) => self.sessions.find(token).await.map_err(Problem::from),
            None => Ok(None),
        }
    }
}

/// 401: the cookie is of no admin who is signed in.
fn signed_out() -> Problem {
    let detail = "Only an admin who is signed in sees this.";
    Problem::new(StatusCode::UNAUTHORIZED, "not_authenticated", detail)
}

/// 503: the page could not be made in time, or Postgres is away.
fn not_now() -> Problem {
    let detail = "The queue cannot be listed in time, or the database is unavailable; `cura-admin jobs` may do.";
    Problem::unavailable("listing_unavailable", detail, PAGE_RETRY_AFTER)
}

/// Leads on by GET.
fn see_other(path: &'static str) -> Response {
    Response::builder()
        .status(StatusCode::SEE_OTHER)
        .header(header::LOCATION, path)
        .finish()
}

/// Tells browsers not to keep, guess, frame or run anything, unless the response has set its own. The referrer stays on the page: without
/// one, its forms would have no origin.
fn protect(headers: &mut HeaderMap) {
    let mut ensure = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    ensure(header::CACHE_CONTROL, "no-store");
    ensure(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    ensure(header::X_FRAME_OPTIONS, "DENY");
    ensure(header::REFERRER_POLICY, "same-origin");
    ensure(
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    );
    ensure(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    ensure(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
}
