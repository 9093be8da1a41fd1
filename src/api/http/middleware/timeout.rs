//! A handler may take as long as the policy of its operation says.

use std::sync::Arc;
use std::time::Duration;

use poem::{Endpoint, Request, Response, Result};

use crate::http::operation::Operation;
use crate::http::problem::Problem;

pub(super) async fn timeout<E: Endpoint<Output = Response>>(next: Arc<E>, request: Request) -> Result<Response> {
    let limit = Operation::of(&request).policy.timeout;
    let handled = tokio::time::timeout(limit, next.call(request)).await;
    handled.unwrap_or_else(|_| {
        tracing::error!("a handler exceeded the timeout of its operation; the access log names it");
        let detail = "The request took too long; please try again.";
        Err(Problem::unavailable("timeout", detail, Duration::from_secs(2)).into())
    })
}
