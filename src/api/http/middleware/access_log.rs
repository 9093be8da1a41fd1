//! One log line for each request, in the span of its request id.

use std::sync::Arc;
use std::time::Instant;

use poem::{Endpoint, Request, Response, Result};

use crate::http::operation::Operation;

pub(super) async fn access_log<E: Endpoint<Output = Response>>(next: Arc<E>, request: Request) -> Result<Response> {
    let begun = Instant::now();
    let method = request.method().clone();
    let operation = Operation::of(&request);
    let response = next.call(request).await?;
    tracing::info!(
        target: "cura::access",
        method = method.as_str(),
        // The template, never the path: a path contains ids, and a query may contain a token.
        route = operation.template().unwrap_or("unknown"),
        status = response.status().as_u16(),
        ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    );
    Ok(response)
}
