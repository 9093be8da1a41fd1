//! `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`.

use poem::http::{HeaderMap, HeaderName, HeaderValue};

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Says how much of a limit remains, and in how many seconds it is full again.
pub(crate) fn insert(headers: &mut HeaderMap, limit: u64, remaining: u64, reset_seconds: u64) {
    headers.insert(LIMIT, HeaderValue::from(limit));
    headers.insert(REMAINING, HeaderValue::from(remaining));
    headers.insert(RESET, HeaderValue::from(reset_seconds));
}

/// Whether a limit is announced already.
pub(crate) fn are_set(headers: &HeaderMap) -> bool {
    headers.contains_key(LIMIT)
}
