//! Gives each request its rate limit, which the handler charges, and says in the response how much remains.

use std::sync::Arc;

use poem::{Endpoint, Request, Response, Result};

use crate::http::operation::Operation;
use crate::http::rate_limit::{RateLimit, RateLimits};

pub(super) async fn rate_limit<E: Endpoint<Output = Response>>(
    limits: RateLimits,
    next: Arc<E>,
    mut request: Request,
) -> Result<Response> {
    let rate_limit = RateLimit::of(&limits, &request, Operation::of(&request).policy.rate);
    request.set_data(rate_limit.clone());
    let mut response = next.call(request).await?;
    rate_limit.announce(response.headers_mut());
    Ok(response)
}
