//! Which web pages may call the API (Fetch standard, CORS protocol): an explicit list of origins, compared as a whole.

use std::collections::HashSet;
use std::sync::Arc;

use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, Request, Response, Result};

use crate::http::own_host;
use crate::http::problem::Problem;
use crate::http::rate_limit::RateLimits;
use crate::http::request_id::RequestId;

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// What a page may send: our own headers, those that telemetry and HTTP libraries add by themselves, and those of TUS 1.0.
const REQUEST_HEADERS: &str = "authorization, content-type, idempotency-key, last-event-id, prefer, x-request-id, baggage, cache-control, \
     if-match, if-modified-since, if-none-match, if-range, if-unmodified-since, pragma, range, sentry-trace, traceparent, tracestate, \
     x-requested-with, tus-resumable, upload-checksum, upload-concat, upload-defer-length, upload-length, upload-metadata, \
     upload-offset, x-http-method-override";
/// What a page may read.
const EXPOSED: &str = "x-request-id, location, etag, content-disposition, link, x-total-count, retry-after, ratelimit-limit, \
     ratelimit-remaining, ratelimit-reset, idempotent-replayed, deprecation, sunset, cura-trouble, allow, www-authenticate, \
     accept-ranges, content-range, tus-checksum-algorithm, tus-extension, tus-max-size, tus-resumable, tus-version, \
     upload-concat, upload-defer-length, upload-expires, upload-length, upload-metadata, upload-offset";

/// The origins that may call the API. Tokens are sent in a header, so credentials are never allowed.
#[derive(Debug, Clone)]
pub struct Origins {
    any: bool,
    listed: HashSet<String>,
}

/// What the origin of a request may do; in the data of the request.
#[derive(Debug, Clone)]
pub(crate) enum OriginClass {
    /// There is no `Origin`: the request does not come from a page of another origin.
    SameOrigin,
    /// The page may read the response.
    Allowed(HeaderValue),
    /// The page may not.
    Refused,
}

impl Origins {
    /// Exactly these origins (`scheme://host[:port]`, any case); `*` allows all.
    pub fn new(origins: &[String]) -> Self {
        Self {
            any: origins.iter().any(|origin| origin == "*"),
            listed: origins
                .iter()
                .map(|origin| origin.trim_end_matches('/').to_ascii_lowercase())
                .collect(),
        }
    }

    /// Says in the headers of a response what the origin of its request may do with it.
    pub(crate) fn announce(&self, request: &Request, headers: &mut HeaderMap) {
        add_cors_headers(headers, self.classify(request));
    }

    fn classify(&self, request: &Request) -> OriginClass {
        let Some(origin) = request.headers().get(header::ORIGIN) else {
            return OriginClass::SameOrigin;
        };
        if self.any {
            return OriginClass::Allowed(HeaderValue::from_static("*"));
        }
        match origin.to_str() {
            Ok(text) if self.listed.contains(&text.to_ascii_lowercase()) => OriginClass::Allowed(origin.clone()),
            _ => OriginClass::Refused,
        }
    }
}

/// Answers preflight requests, and says in every other response what the origin may do with it.
pub(super) async fn cors<E: Endpoint<Output = Response>>(
    origins: Arc<Origins>,
    limits: RateLimits,
    next: Arc<E>,
    mut request: Request,
) -> Result<Response> {
    let mut class = origins.classify(&request);
    // A page of this host needs no leave, but what imitates a browser may ask for it.
    if matches!(class, OriginClass::Refused)
        && is_preflight(&request)
        && own_host::is_origin(&request, limits.trusts_peer(&request))
        && let Some(origin) = request.headers().get(header::ORIGIN)
    {
        class = OriginClass::Allowed(origin.clone());
    }
    request.set_data(class.clone());
    let mut response = match preflight(&request, &class) {
        Some(preflight) => preflight,
        None => next.call(request).await?,
    };
    add_cors_headers(response.headers_mut(), class);
    Ok(response)
}

fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The response to a preflight request; `None` if the request is not one.
fn preflight(request: &Request, class: &OriginClass) -> Option<Response> {
    let is_preflight = is_preflight(request);
    match class {
        OriginClass::Allowed(_) if is_preflight => Some(
            Response::builder()
                .status(StatusCode::NO_CONTENT)
                .header(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS)
                .header(header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS)
                .header(header::ACCESS_CONTROL_MAX_AGE, "3600")
                .finish(),
        ),
        OriginClass::Refused if is_preflight => Some(origin_not_allowed().render(RequestId::of(request).as_str())),
        _ => None,
    }
}

/// 403 for a page of another origin.
pub(crate) fn origin_not_allowed() -> Problem {
    let detail = "Pages of this origin may not call this server.";
    Problem::new(StatusCode::FORBIDDEN, "origin_not_allowed", detail)
}

fn add_cors_headers(headers: &mut HeaderMap, class: OriginClass) {
    // Caches must not serve one origin's response to another.
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let OriginClass::Allowed(origin) = class {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}
