//! What an error of poem or poem-openapi means to a client.

use poem::Error;
use poem::error::{MethodNotAllowedError, NotFoundError, ParseQueryError, SizedLimitError, WebSocketError};
use poem::http::StatusCode;
use poem_openapi::error::{
    AuthorizationError, ContentTypeError, ParseMultipartError, ParsePathError, ParseRequestPayloadError,
};

use crate::http::problem::Problem;

/// The problem inside `error`, or the one that an error of the framework stands for. Logs errors that are faults of the server.
pub(crate) fn problem_of(error: &Error) -> Problem {
    if let Some(problem) = error.downcast_ref::<Problem>() {
        return problem.clone();
    }
    if error.is::<NotFoundError>() || error.is::<ParsePathError>() {
        return Problem::not_found("not_found", "There is no resource at this path.");
    }
    if error.is::<WebSocketError>() {
        let detail = "This path is a WebSocket (RFC 6455): request an upgrade.";
        return Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", detail);
    }
    if error.is::<MethodNotAllowedError>() {
        let detail = "Method not allowed for this path.";
        return Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail);
    }
    if error.is::<AuthorizationError>() {
        return Problem::not_signed_in();
    }
    if error.is::<ParseQueryError>() {
        return Problem::malformed("malformed_query", "The query string cannot be parsed.");
    }
    if error.is::<ContentTypeError>() {
        let detail = "The content type is missing, or this operation does not accept it.";
        return Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail);
    }
    if error.is::<SizedLimitError>() {
        return Problem::too_large();
    }
    if error.is::<ParseRequestPayloadError>() || error.is::<ParseMultipartError>() {
        return Problem::malformed("malformed_body", "The body cannot be parsed.");
    }
    match error.status() {
        status if status.is_client_error() => Problem::new(status, "bad_request", "The request cannot be processed."),
        _ => {
            tracing::error!(%error, "request failed");
            Problem::internal()
        }
    }
}
