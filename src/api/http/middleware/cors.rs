//! Which web pages may call us (Fetch standard, CORS protocol): an explicit list, compared whole.

use std::collections::HashSet;

use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use poem::{Request, Response};

use crate::http::problem::Problem;

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
const REQUEST_HEADERS: &str =
    "authorization, content-type, idempotency-key, last-event-id, prefer, x-request-id, cache-control";
const EXPOSED: &str = "x-request-id, location, etag, content-disposition, link, x-total-count, retry-after, ratelimit-limit, ratelimit-remaining, \
     ratelimit-reset, idempotent-replayed";

/// The origins that may call us. Tokens travel in a header, so no credentials are ever allowed.
#[derive(Debug, Clone)]
pub struct Origins {
    any: bool,
    listed: HashSet<String>,
}

/// What a request's origin may do.
pub(crate) enum Verdict {
    /// No page of another origin is involved.
    SameOrigin,
    /// It may read the answer.
    Allowed(HeaderValue),
    /// It may not.
    Refused,
}

impl Origins {
    /// Exactly these origins (`scheme://host[:port]`, any case); `*` stands for all.
    pub fn new(origins: &[String]) -> Self {
        Self {
            any: origins.iter().any(|origin| origin == "*"),
            listed: origins
                .iter()
                .map(|origin| origin.trim_end_matches('/').to_ascii_lowercase())
                .collect(),
        }
    }

    pub(crate) fn judge(&self, request: &Request) -> Verdict {
        let Some(origin) = request.headers().get(header::ORIGIN) else {
            return Verdict::SameOrigin;
        };
        if self.any {
            return Verdict::Allowed(HeaderValue::from_static("*"));
        }
        match origin.to_str() {
            Ok(text) if self.listed.contains(&text.to_ascii_lowercase()) => Verdict::Allowed(origin.clone()),
            _ => Verdict::Refused,
        }
    }
}

/// The answer to a preflight, if the request is one.
pub(crate) fn preflight(request: &Request, verdict: &Verdict) -> Option<Result<Response, Problem>> {
    let asks =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    match verdict {
        Verdict::Allowed(_) if asks => Some(Ok(Response::builder()
            .status(StatusCode::NO_CONTENT)
            .header(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS)
            .header(header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS)
            .header(header::ACCESS_CONTROL_MAX_AGE, "3600")
            .finish())),
        Verdict::Refused if asks => Some(Err(Problem::new(
            StatusCode::FORBIDDEN,
            "origin_not_allowed",
            "Pages of this origin may not call this server.",
        ))),
        _ => None,
    }
}

/// Says in an answer what the origin may do with it.
pub(crate) fn mark(headers: &mut HeaderMap, verdict: Verdict) {
    // Caches must not give one origin's answer to another.
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Verdict::Allowed(origin) = verdict {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}
