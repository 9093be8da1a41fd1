//! Problems as clients see them.

use chrono::{DateTime, Utc};
use poem_openapi::Object;

/// An error, as RFC 9457 defines it.
#[derive(Debug, Clone, Object)]
#[oai(rename = "Problem")]
pub(crate) struct ProblemView {
    /// A URI for this kind of problem. `about:blank`: title and status say everything.
    #[oai(rename = "type")]
    pub(crate) kind: String,
    /// The name of the HTTP status.
    pub(crate) title: String,
    /// The HTTP status.
    pub(crate) status: i32,
    /// What happened, for people.
    pub(crate) detail: String,
    /// What happened, for programs: a stable code.
    pub(crate) code: String,
    /// The id of the request. Quote it to support.
    pub(crate) request_id: String,
    /// With 422: every invalid field.
    #[oai(skip_serializing_if_is_none)]
    pub(crate) errors: Option<Vec<FieldError>>,
    /// With `generation_in_progress`: the running answer.
    #[oai(skip_serializing_if_is_none)]
    pub(crate) message_id: Option<i64>,
    /// With `file_infected` and `file_failed`: the file.
    #[oai(skip_serializing_if_is_none)]
    pub(crate) file_id: Option<i64>,
    /// With `queue_full`, `quota_exceeded` and refused sign-ins: the limit that is reached.
    #[oai(skip_serializing_if_is_none)]
    pub(crate) limit: Option<i64>,
    /// With `quota_exceeded`: when the quota is reset.
    #[oai(skip_serializing_if_is_none)]
    pub(crate) resets_at: Option<DateTime<Utc>>,
}

/// One invalid field.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub(crate) struct FieldError {
    /// Where it is, as a JSON pointer (RFC 6901); `?name` for a query parameter.
    pub(crate) pointer: String,
    /// What is wrong, for programs.
    pub(crate) code: String,
    /// What is wrong, for people. Never contains the value that was sent.
    pub(crate) detail: String,
}

/// The longest pointer that is shown, in bytes: the names in it may be the client's.
const MAX_POINTER: usize = 200;

impl FieldError {
    /// An error at `pointer`, which is cut if it is very long.
    pub(crate) fn new(pointer: impl Into<String>, code: &str, detail: impl Into<String>) -> Self {
        let mut pointer = pointer.into();
        pointer.truncate(pointer.floor_char_boundary(MAX_POINTER));
        Self {
            pointer,
            code: code.to_owned(),
            detail: detail.into(),
        }
    }
}
