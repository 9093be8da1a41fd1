//! Headers that handlers read must be text: poem treats others as absent, and an idempotency key that is ignored protects
//! from nothing.

use poem::Request;
use poem::http::StatusCode;

use crate::http::problem::Problem;

/// The headers that handlers read.
const TEXT_HEADERS: [&str; 8] = [
    "authorization",
    "idempotency-key",
    "last-event-id",
    "prefer",
    "tus-resumable",
    "upload-length",
    "upload-metadata",
    "upload-offset",
];

/// 400 if one of them is not visible ASCII.
pub(super) fn refuse_unreadable(request: &Request) -> Result<(), Problem> {
    let is_unreadable = |name: &str| {
        let mut values = request.headers().get_all(name).iter();
        values.any(|value| value.to_str().is_err())
    };
    match TEXT_HEADERS.into_iter().find(|name| is_unreadable(name)) {
        None => Ok(()),
        Some(name) => {
            let detail = format!("The header {name} may contain visible ASCII characters only.");
            Err(Problem::new(StatusCode::BAD_REQUEST, "malformed_header", detail))
        }
    }
}
