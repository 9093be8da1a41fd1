//! Errors become problem+json responses.

use std::sync::Arc;

use poem::{Endpoint, Request, Response, Result};

use crate::http::framework_errors::problem_of;
use crate::http::request_id::RequestId;

pub(super) async fn render_problems<E: Endpoint<Output = Response>>(
    next: Arc<E>,
    request: Request,
) -> Result<Response> {
    let id = RequestId::of(&request);
    let rendered = |error| problem_of(&error).render(id.as_str());
    Ok(next.call(request).await.unwrap_or_else(rendered))
}
