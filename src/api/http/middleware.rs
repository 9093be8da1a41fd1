//! The outermost layer, through which every request and every answer goes: request ids, CORS, problems for every error
//! and panic, the headers every answer has, and the access log.

pub(crate) mod cors;

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use cura_domain::Entropy;
use futures_util::FutureExt;
use poem::error::MethodNotAllowedError;
use poem::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use poem::{Endpoint, Request, Response, Result};

use crate::http::framework_errors::problem_of;
use crate::http::paths::{KnownPath, Paths};
use crate::http::payload;
use crate::http::prefer;
use crate::http::problem::Problem;
use crate::http::rate_limit::{RateLimit, RateLimits};
use crate::http::request_id::{REQUEST_ID, RequestId};
use cors::Origins;

/// Headers that handlers read.
const TEXT_HEADERS: [&str; 4] = ["authorization", "idempotency-key", "last-event-id", "prefer"];
/// The longest a handler may take, arrival of the body included; every call it makes has a shorter limit of its own.
const HANDLER_LIMIT: Duration = Duration::from_secs(25);
/// Where `Prefer: wait` is obeyed.
const WAITING_ROUTES: [&str; 3] = [
    "/chat/send",
    "/chat/messages/{message_id}/regenerate",
    "/chat/messages/{message_id}/edit",
];

pub(crate) struct Front<E> {
    pub(crate) inner: E,
    pub(crate) paths: Paths,
    pub(crate) origins: Origins,
    pub(crate) limits: RateLimits,
    pub(crate) entropy: Entropy,
}

impl<E: Endpoint<Output = Response>> Endpoint for Front<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let begun = Instant::now();
        let id = RequestId::choose(request.headers(), &self.entropy).0;
        let method = request.method().clone();
        // The template, never the path: a path holds ids and a query may hold a token.
        let route = self.paths.find(request.uri().path());
        let rate_limit = self.limits.turn(&request, route.map(|route| route.template.as_str()));
        request.set_data(rate_limit.clone());
        let span = tracing::info_span!("request", request_id = id.to_str().unwrap_or_default());
        let verdict = self.origins.judge(&request);
        let answered = match cors::preflight(&request, &verdict) {
            Some(preflight) => preflight,
            None => tracing::Instrument::instrument(self.answer(request, route, &rate_limit), span.clone()).await,
        };
        let mut response =
            answered.unwrap_or_else(|problem| span.in_scope(|| problem.render(id.to_str().unwrap_or_default())));
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, id);
        rate_limit.announce(headers);
        cors::mark(headers, verdict);
        harden(headers);
        span.in_scope(|| {
            tracing::info!(
                target: "cura::access",
                method = method.as_str(),
                route = route.map_or("unknown", |route| route.template.as_str()),
                status = response.status().as_u16(),
                ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            );
        });
        Ok(response)
    }
}

impl<E: Endpoint<Output = Response>> Front<E> {
    async fn answer(
        &self,
        request: Request,
        route: Option<&KnownPath>,
        rate_limit: &RateLimit,
    ) -> Result<Response, Problem> {
        let answered = self.handle(request, route).await;
        if let Err(problem) = &answered
            && problem.is_client_error()
            && !rate_limit.is_counted()
        {
            // For a bad token or a bad body. What is our own fault costs nobody anything.
            rate_limit.charge_refused().await?;
        }
        answered
    }

    async fn handle(&self, mut request: Request, route: Option<&KnownPath>) -> Result<Response, Problem> {
        if request.headers().contains_key(header::CONTENT_ENCODING) {
            // Inflating is how 48 kB become 50 MB.
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_content_encoding",
                "Compressed requests are not taken.",
            ));
        }
        // poem takes a header that is no text for one that is not there, and a key that is ignored protects nobody.
        let unreadable = |name: &str| {
            request
                .headers()
                .get_all(name)
                .iter()
                .any(|value| value.to_str().is_err())
        };
        if let Some(name) = TEXT_HEADERS.into_iter().find(|name| unreadable(name)) {
            let detail = format!("The header {name} may hold visible ASCII characters only.");
            return Err(Problem::new(StatusCode::BAD_REQUEST, "malformed_header", detail));
        }
        // A word that has no case (RFC 6455, section 4.2.1); poem knows two of its spellings.
        if let Some(upgrade) = request.headers_mut().get_mut(header::UPGRADE)
            && upgrade.as_bytes().eq_ignore_ascii_case(b"websocket")
        {
            *upgrade = HeaderValue::from_static("websocket");
        }
        // Several headers are one list.
        let lists = request.headers().get_all(header::ACCEPT).iter();
        let accept = lists
            .filter_map(|list| list.to_str().ok())
            .collect::<Vec<_>>()
            .join(",");
        if let Some(route) = route
            && !accept.trim().is_empty()
            && !route.is_accepted(&accept)
        {
            let detail = format!("This address answers with {}.", route.produces.join(" or "));
            return Err(Problem::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", detail));
        }
        let takes_body = route.is_some_and(|route| {
            let method = request.method().as_str();
            route.with_body.iter().any(|with_body| with_body == method)
        });
        if !takes_body {
            // Many clients send `{}` with everything; nobody needs to send more.
            payload::discard(request.take_body()).await?;
        }
        // Waiting for an answer is what one route is for.
        let limit = match route {
            Some(route) if WAITING_ROUTES.contains(&route.template.as_str()) => HANDLER_LIMIT + prefer::MAX_WAIT,
            _ => HANDLER_LIMIT,
        };
        let handled = tokio::time::timeout(limit, AssertUnwindSafe(self.inner.call(request)).catch_unwind());
        let Ok(handled) = handled.await else {
            tracing::error!("a handler took too long");
            let detail = "This took too long; please try again.";
            return Err(Problem::unavailable("timeout", detail, Duration::from_secs(2)));
        };
        match handled {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => {
                let problem = problem_of(&error);
                Err(match route {
                    Some(route) if error.is::<MethodNotAllowedError>() => problem.with_allow(route.allow.clone()),
                    // What is not in the document are the document's own pages.
                    None if error.is::<MethodNotAllowedError>() => {
                        problem.with_allow(HeaderValue::from_static("GET, HEAD"))
                    }
                    _ => problem,
                })
            }
            Err(_) => {
                // The panic hook has logged where.
                tracing::error!("a handler panicked");
                Err(Problem::internal())
            }
        }
    }
}

/// Headers every answer has, unless it has its own.
fn harden(headers: &mut HeaderMap) {
    let mut ensure = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    ensure(header::CACHE_CONTROL, "no-store");
    ensure(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    ensure(header::REFERRER_POLICY, "no-referrer");
    ensure(header::X_FRAME_OPTIONS, "DENY");
    ensure(
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    );
}

#[cfg(test)]
mod tests {
    use cura_app::limits::RateLimiter;
    use poem::endpoint::make_sync;
    use poem::http::Uri;

    use super::*;
    use crate::http::client_address::TrustedProxies;
    use crate::http::rate_limit::Rates;

    #[tokio::test]
    async fn a_panic_is_our_fault_and_says_nothing_about_it() {
        let off = Rates {
            auth: 0,
            chat: 0,
            upload: 0,
            default: 0,
        };
        let front = Front {
            inner: make_sync(|_| -> Response { panic!("a secret") }),
            paths: Paths::new(&serde_json::json!({ "paths": {} })),
            origins: Origins::new(&[]),
            limits: RateLimits::new(&RateLimiter::in_process(), off, TrustedProxies::default()),
            entropy: Entropy::new(|buffer| buffer.fill(7)),
        };
        let request = Request::builder().uri(Uri::from_static("/anything")).finish();
        let mut response = front.call(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let body = response.take_body().into_string().await.unwrap();
        assert!(body.contains("internal_error") && !body.contains("secret"), "{body}");
    }
}
