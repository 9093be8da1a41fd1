//! Every response that is not a success: RFC 9457 problem+json with a stable `code`, and without anything internal.
//!
//! Handlers return a [`Problem`]; the middleware `render_problems` turns it into a response, because the request id is known
//! there. Nothing here knows why a problem occurs: errors of `cura_app` are mapped in `app_errors` or beside their route,
//! errors of poem in `framework_errors`.

mod documented;
mod render;
mod view;

use std::time::Duration;

use chrono::{DateTime, Utc};
use poem::error::ResponseError;
use poem::http::{HeaderName, HeaderValue, StatusCode, header};

pub(crate) use view::FieldError;

/// The most errors of a 422; a client that repairs them learns of the others.
pub(crate) const MAX_ERRORS: usize = 20;

/// When a client should try again whose file was not kept, or not read.
const STORAGE_UNAVAILABLE_FOR: Duration = Duration::from_secs(10);

/// A problem on its way to the client.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{status} {code}")]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    retry_after: Option<Duration>,
    header: Option<Box<(HeaderName, HeaderValue)>>,
    cause: Option<Cause>,
    used_up: Option<Box<UsedUp>>,
}

/// What a request is in conflict with.
#[derive(Debug, Clone, Copy)]
enum Cause {
    /// A running answer.
    Message(i64),
    /// A file.
    File(i64),
}

/// A limit that is reached, and is none that the request was charged to. Boxed: few problems have one.
#[derive(Debug, Clone)]
struct UsedUp {
    limit: u64,
    /// Of the daily token quota.
    resets_at: Option<DateTime<Utc>>,
}

impl Problem {
    /// A problem with a status, a stable code, and a sentence for people.
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            header: None,
            cause: None,
            used_up: None,
        }
    }

    /// 400: the request cannot be read.
    pub(crate) fn malformed(code: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 401: no valid token.
    pub(crate) fn not_signed_in() -> Self {
        let detail = "A valid access token is required.";
        Self::new(StatusCode::UNAUTHORIZED, "not_authenticated", detail)
    }

    /// 403: the account is suspended.
    pub(crate) fn suspended() -> Self {
        Self::new(StatusCode::FORBIDDEN, "account_suspended", "This account is suspended.")
    }

    /// 404: it does not exist, or belongs to another user.
    pub(crate) fn not_found(code: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// 404 for a conversation.
    pub(crate) fn conversation_not_found() -> Self {
        Self::not_found("conversation_not_found", "Conversation not found.")
    }

    /// 404 for a message.
    pub(crate) fn message_not_found() -> Self {
        Self::not_found("message_not_found", "Message not found.")
    }

    /// 413: the body is larger than the operation accepts.
    pub(crate) fn too_large() -> Self {
        let detail = "The body is larger than this operation accepts.";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }

    /// 422: the request was understood, but these fields are invalid. Each is named once, with the first of its errors: parameters of
    /// the query before fields of the body, in the order of their names. Of many, the first [`MAX_ERRORS`] are shown.
    pub(crate) fn invalid(mut errors: Vec<FieldError>) -> Self {
        let place = |error: &FieldError| (!error.pointer.starts_with('?'), error.pointer.clone());
        // Stable: of one field, the error that was found first stays first.
        errors.sort_by_cached_key(place);
        errors.dedup_by(|later, first| later.pointer == first.pointer);
        errors.truncate(MAX_ERRORS);
        let detail = "Some fields of the request are invalid.";
        Self {
            errors,
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation_failed", detail)
        }
    }

    /// 500: a fault of the server. The cause is logged where it is known, and never shown.
    pub(crate) fn internal() -> Self {
        let detail = "Internal server error.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", detail)
    }

    /// 503: a dependency is unavailable; the client should try again after `after`.
    pub(crate) fn unavailable(code: &'static str, detail: &str, after: Duration) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).with_retry_after(after)
    }

    /// 503: the file store, or the disk where files arrive, is unavailable.
    pub(crate) fn storage_unavailable() -> Self {
        let detail = "Files cannot be stored or read at the moment; please try again.";
        Self::unavailable("storage_unavailable", detail, STORAGE_UNAVAILABLE_FOR)
    }

    /// 422: the key of the request stands for another one.
    pub(crate) fn key_reused() -> Self {
        let detail = "This Idempotency-Key was used for a different request.";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail)
    }

    /// 404 for a file.
    pub(crate) fn file_not_found() -> Self {
        Self::not_found("file_not_found", "File not found.")
    }

    /// 416: the range begins behind the end of what has so many bytes.
    pub(crate) fn range_not_satisfiable(size: u64) -> Self {
        let detail = "The range begins behind the end of the file.";
        let mut problem = Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", detail);
        let header = HeaderValue::try_from(format!("bytes */{size}")).ok();
        problem.header = header.map(|header| Box::new((header::CONTENT_RANGE, header)));
        problem
    }

    /// Adds `Retry-After`.
    pub(crate) fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Adds the id of the running answer that causes the conflict.
    pub(crate) fn with_message(mut self, id: i64) -> Self {
        self.cause = Some(Cause::Message(id));
        self
    }

    /// Adds the id of the file that causes the conflict.
    pub(crate) fn with_file(mut self, id: i64) -> Self {
        self.cause = Some(Cause::File(id));
        self
    }

    /// Adds how many tokens a day has, and when the quota is reset.
    pub(crate) fn with_quota(mut self, limit: u64, resets_at: DateTime<Utc>, after: Duration) -> Self {
        let resets_at = Some(resets_at);
        self.used_up = Some(Box::new(UsedUp { limit, resets_at }));
        self.with_retry_after(after)
    }

    /// Adds the limit that is used up, and when the client may try again.
    pub(crate) fn with_used_up(mut self, limit: u32, after: Duration) -> Self {
        self.used_up = Some(Box::new(UsedUp {
            limit: limit.into(),
            resets_at: None,
        }));
        self.with_retry_after(after)
    }

    /// Adds the limit that is reached, of a kind that time alone does not give back.
    pub(crate) fn with_limit(mut self, limit: usize) -> Self {
        self.used_up = Some(Box::new(UsedUp {
            limit: u64::try_from(limit).unwrap_or(u64::MAX),
            resets_at: None,
        }));
        self
    }

    /// Adds `Allow`: the methods of the path.
    pub(crate) fn with_allow(self, allow: HeaderValue) -> Self {
        self.with_header(header::ALLOW, allow)
    }

    /// Adds a header, instead of the one that was added before.
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some(Box::new((name, value)));
        self
    }

    /// The stable code, for programs.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// The sentence for people.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// When the client should try again.
    #[cfg(feature = "board")]
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The running answer that causes the conflict.
    pub(crate) fn message_id(&self) -> Option<i64> {
        match self.cause {
            Some(Cause::Message(id)) => Some(id),
            _ => None,
        }
    }

    /// The file that causes the conflict.
    pub(crate) fn file_id(&self) -> Option<i64> {
        match self.cause {
            Some(Cause::File(id)) => Some(id),
            _ => None,
        }
    }

    /// The limit that is reached.
    pub(crate) fn limit(&self) -> Option<i64> {
        let used_up = self.used_up.as_ref()?;
        i64::try_from(used_up.limit).ok()
    }

    /// Whether the status is 4xx.
    pub(crate) fn is_client_error(&self) -> bool {
        self.status.is_client_error()
    }

    /// Whether the caller's identity is the problem: 401 or 403.
    pub(crate) fn is_about_identity(&self) -> bool {
        matches!(self.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    }

    /// Whether the same request may succeed later.
    pub(crate) fn is_retryable(&self) -> bool {
        self.retry_after.is_some() || self.status == StatusCode::CONFLICT
    }
}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_invalid_field_is_named_once_in_a_stable_order() {
        let error = |pointer: &str, code: &str| FieldError::new(pointer, code, "");
        let problem = Problem::invalid(vec![
            error("/on_busy", "invalid_type"),
            error("/email", "invalid_format"),
            error("/on_busy", "invalid_choice"),
            error("?limit", "too_small"),
        ]);
        let named: Vec<_> = problem
            .errors
            .iter()
            .map(|error| (&*error.pointer, &*error.code))
            .collect();
        let expected = [
            ("?limit", "too_small"),
            ("/email", "invalid_format"),
            ("/on_busy", "invalid_type"),
        ];
        assert_eq!(named, expected);
        let many = (0..100).map(|n| error(&format!("/{n}"), "x")).collect();
        assert_eq!(Problem::invalid(many).errors.len(), MAX_ERRORS);
        assert!(std::mem::size_of::<Problem>() <= 128);
    }
}
