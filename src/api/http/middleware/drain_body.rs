//! The body of an operation that does not read one is read and discarded, so that the connection stays usable.

use poem::Request;

use crate::http::body;
use crate::http::operation::Operation;
use crate::http::problem::Problem;

/// 413 or 408 if a body that is not needed is too large or too slow.
pub(super) async fn drain_body(request: &mut Request) -> Result<(), Problem> {
    if Operation::of(request).policy.body.is_read {
        return Ok(());
    }
    let body = request.take_body();
    body::discard(request, body).await
}
