//! Every answer that is no success: RFC 9457 problem+json, with a stable `code` and nothing internal in it.
//!
//! Handlers return a [`Problem`]; what poem and poem-openapi say by themselves is translated here too. The outermost
//! layer renders it, because only there the request id is known for all.

use std::time::Duration;

use chrono::{DateTime, Utc};
use cura_app::StoreError;
use cura_app::passwords::PasswordError;
use cura_domain::Entropy;
use poem::error::{
    MethodNotAllowedError, NotFoundError, ParseQueryError, ResponseError, SizedLimitError, WebSocketError,
};
use poem::http::{HeaderValue, StatusCode, header};
use poem::{Error, Response};
use poem_openapi::error::{
    AuthorizationError, ContentTypeError, ParseMultipartError, ParseParamError, ParsePathError,
    ParseRequestPayloadError,
};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::{ToJSON, Type};
use poem_openapi::{ApiResponse, Object};

use crate::http::middleware::fresh_request_id;
use crate::http::rate_limit;
use crate::realtime::schema::ErrorEvent;

/// After what time a client should try again when something is away.
const AWAY: Duration = Duration::from_secs(2);
const CONTENT_TYPE: &str = "application/problem+json";

/// What went wrong, as RFC 9457 writes it.
#[derive(Debug, Clone, Object)]
#[oai(rename = "Problem")]
pub struct ProblemView {
    /// A URI for this kind of problem; `about:blank` says that title and status tell it all.
    #[oai(rename = "type")]
    kind: String,
    /// The HTTP status in words.
    title: String,
    /// The HTTP status.
    status: i32,
    /// What happened, for people.
    detail: String,
    /// What happened, for programs: a stable word.
    code: String,
    /// The id of the request, to give to support.
    request_id: String,
    /// With 422: every field that is wrong.
    #[oai(skip_serializing_if_is_none)]
    errors: Option<Vec<FieldError>>,
    /// With `generation_in_progress`: the answer that is being written.
    #[oai(skip_serializing_if_is_none)]
    message_id: Option<i64>,
    /// With `quota_exceeded`: when there are new tokens.
    #[oai(skip_serializing_if_is_none)]
    resets_at: Option<DateTime<Utc>>,
}

/// One field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub struct FieldError {
    /// Where, as a JSON pointer (RFC 6901); `?name` for a query parameter.
    pub pointer: String,
    /// What, for programs.
    pub code: String,
    /// What, for people; never the value that was sent.
    pub detail: String,
}

impl FieldError {
    /// An error at `pointer`.
    pub fn new(pointer: impl Into<String>, code: &str, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            code: code.to_owned(),
            detail: detail.into(),
        }
    }
}

/// A problem on its way to the client.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{status} {code}")]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    retry_after: Option<Duration>,
    allow: Option<Box<HeaderValue>>,
    message_id: Option<i64>,
    /// The tokens of a day, and when there are new ones.
    quota: Option<Box<(u64, DateTime<Utc>)>>,
}

impl Problem {
    /// Whether whoever asked could have known better.
    pub(crate) fn is_clients_fault(&self) -> bool {
        self.status.is_client_error()
    }

    /// A problem with a status, a stable word, and a sentence for people.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            allow: None,
            message_id: None,
            quota: None,
        }
    }

    /// 400: the request cannot be read.
    pub fn malformed(code: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 401: no valid token.
    pub fn not_signed_in() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "not_authenticated",
            "A valid access token is needed.",
        )
    }

    /// 404: not there, or not yours.
    pub fn not_found(code: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// 422: understood, but these fields are wrong.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = "The request was understood, but some of it is not valid.";
        Self {
            errors,
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation_failed", detail)
        }
    }

    /// 503: something Cura needs is away; try again after `after`.
    pub fn unavailable(code: &'static str, detail: &str, after: Duration) -> Self {
        Self {
            retry_after: Some(after),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
        }
    }

    /// 503: Postgres is away.
    fn database_away() -> Self {
        Self::unavailable("database_unavailable", "The database is away; please try again.", AWAY)
    }

    /// 500: our fault. The cause is logged where it is known, never shown.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "Something went wrong on our side.",
        )
    }

    /// Says when to come back.
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Names the running answer that is in the way.
    pub fn with_message(mut self, id: i64) -> Self {
        self.message_id = Some(id);
        self
    }

    /// 404: no such message.
    pub(crate) fn message_not_found() -> Self {
        Self::not_found("message_not_found", "There is no such message.")
    }

    /// Says how many tokens a day has, and when there are new ones.
    pub(crate) fn with_quota(mut self, limit: u64, resets_at: DateTime<Utc>, after: Duration) -> Self {
        self.quota = Some(Box::new((limit, resets_at)));
        self.with_retry_after(after)
    }

    /// Whether it is about who asks.
    pub(crate) fn is_about_who(&self) -> bool {
        matches!(self.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    }

    /// The same as an event of a socket. There, `message_id` would say that the answer has ended.
    pub(crate) fn into_event(self) -> ErrorEvent {
        ErrorEvent {
            running_message_id: self.message_id,
            detail: self.detail,
            retryable: self.retry_after.is_some() || self.status == StatusCode::CONFLICT,
            ..ErrorEvent::new(self.code)
        }
    }

    /// Says which methods there are.
    pub fn with_allow(mut self, allow: HeaderValue) -> Self {
        self.allow = Some(Box::new(allow));
        self
    }

    /// The HTTP answer.
    pub fn render(self, request_id: &str) -> Response {
        let (status, allow, retry_after) = (self.status, self.allow.clone(), self.retry_after);
        let tokens = self.quota.as_ref().map(|quota| quota.0);
        let view = self.view(request_id);
        let mut response = Response::builder()
            .status(status)
            .content_type(CONTENT_TYPE)
            .body(view.to_json_string());
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::UPGRADE_REQUIRED {
            // What would be right: RFC 9110, section 15.5.22, and RFC 6455, section 4.2.2.
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        if let Some(allow) = allow {
            headers.insert(header::ALLOW, *allow);
        }
        if let Some(after) = retry_after {
            let seconds = HeaderValue::from(after.as_secs().max(1));
            if let Some(limit) = tokens {
                rate_limit::announce_quota(headers, limit, seconds.clone());
            }
            headers.insert(header::RETRY_AFTER, seconds);
        }
        response
    }

    fn view(self, request_id: &str) -> ProblemView {
        ProblemView {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("Unknown").to_owned(),
            status: self.status.as_u16().into(),
            detail: self.detail,
            code: self.code.to_owned(),
            request_id: request_id.to_owned(),
            errors: (!self.errors.is_empty()).then_some(self.errors),
            message_id: self.message_id,
            resets_at: self.quota.map(|quota| quota.1),
        }
    }

    /// The HTTP answer as bytes, for a request that could not be parsed; the connection closes after it.
    pub(crate) fn render_raw(self, entropy: &Entropy) -> Vec<u8> {
        let request_id = fresh_request_id(entropy);
        let status = self.status;
        let body = self.view(&request_id).to_json_string();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {CONTENT_TYPE}\r\ncontent-length: {}\r\nx-request-id: {request_id}\r\n\
             cache-control: no-store\r\nconnection: close\r\n\r\n",
            body.len()
        );
        [head.into_bytes(), body.into_bytes()].concat()
    }

    /// What an error of ours, of poem or of poem-openapi means to the client.
    pub fn from_error(error: &Error) -> Self {
        if let Some(problem) = error.downcast_ref::<Self>() {
            return problem.clone();
        }
        if error.is::<NotFoundError>() || error.is::<ParsePathError>() {
            return Self::not_found("not_found", "There is nothing at this address.");
        }
        if error.is::<WebSocketError>() {
            let detail = "This is a WebSocket (RFC 6455): ask for an upgrade.";
            return Self::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", detail);
        }
        if error.is::<MethodNotAllowedError>() {
            return Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This method is not for here.",
            );
        }
        if error.is::<AuthorizationError>() {
            return Self::not_signed_in();
        }
        if let Some(parameter) = error.downcast_ref::<ParseParamError>() {
            let pointer = format!("?{}", parameter.name);
            return Self::invalid(vec![FieldError::new(pointer, "invalid", "is missing or not valid")]);
        }
        if error.is::<ParseQueryError>() {
            return Self::malformed("malformed_query", "The query string cannot be read.");
        }
        if error.is::<ContentTypeError>() {
            return Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "The content type is missing, or not one this address takes.",
            );
        }
        if error.is::<SizedLimitError>() {
            return Self::too_large();
        }
        if error.is::<ParseRequestPayloadError>() || error.is::<ParseMultipartError>() {
            return Self::malformed("malformed_body", "The body cannot be read.");
        }
        match error.status() {
            status if status.is_client_error() => Self::new(status, "bad_request", "The request cannot be served."),
            _ => {
                tracing::error!(%error, "a request failed");
                Self::internal()
            }
        }
    }

    /// 413: more than this address takes.
    pub fn too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            "The body is larger than this address takes.",
        )
    }
}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => {
                tracing::warn!(error = chain(&error), "the database is away");
                Self::database_away()
            }
            StoreError::UserGone => Self::not_signed_in(),
            StoreError::Query(_) | StoreError::UnknownWord(_) => {
                tracing::error!(error = chain(&error), "a query failed");
                Self::internal()
            }
        }
    }
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => {
                let detail = "Too many people are signing in at this moment.";
                Self::unavailable("sign_in_busy", detail, AWAY)
            }
            PasswordError::Hash(_) => {
                tracing::error!(%error, "a password could not be checked");
                Self::internal()
            }
        }
    }
}

/// An error with its causes, for the operator.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Documents every status an operation may answer with besides its success.
impl ApiResponse for Problem {
    fn meta() -> MetaResponses {
        let response = |(status, description): (u16, &'static str)| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content: vec![MetaMediaType {
                content_type: CONTENT_TYPE,
                schema: ProblemView::schema_ref(),
            }],
            headers: vec![],
        };
        let all = [
            (400, "The request cannot be read."),
            (401, "No valid access token."),
            (403, "Signed in, but not allowed."),
            (404, "Not there, or not yours."),
            (405, "Not a method of this address; see Allow."),
            (406, "Nothing this address can produce is accepted."),
            (408, "The body took too long to arrive."),
            (409, "In conflict with the present state."),
            (413, "The body is too large."),
            (415, "Not a content type this address takes."),
            (422, "Understood, but not valid."),
            (429, "A limit is reached; see Retry-After."),
            (500, "Our fault."),
            (503, "Something Cura needs is away; see Retry-After."),
        ];
        MetaResponses {
            responses: all.into_iter().map(response).collect(),
        }
    }

    fn register(registry: &mut Registry) {
        ProblemView::register(registry);
    }
}

/// Collects everything that is wrong with a request, so that the client learns it at once.
#[derive(Debug, Default)]
pub struct Fields(Vec<FieldError>);

impl Fields {
    /// The checked value, or a note that `pointer` is wrong.
    pub fn check<T, E: std::fmt::Display>(&mut self, pointer: &str, code: &str, checked: Result<T, E>) -> Option<T> {
        checked
            .map_err(|error| self.0.push(FieldError::new(pointer, code, error.to_string())))
            .ok()
    }

    /// Notes that `pointer` is wrong.
    pub fn refuse(&mut self, pointer: &str, code: &str, detail: &str) {
        self.0.push(FieldError::new(pointer, code, detail));
    }

    /// `value` if nothing was wrong.
    ///
    /// # Errors
    /// 422 with everything that was.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Problem> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(Problem::invalid(self.0)),
        }
    }
}
