//! Refused requests are charged: a bad token or a bad body costs as much as a good one.

use std::sync::Arc;

use poem::{Endpoint, Request, Response, Result};

use crate::http::problem::Problem;
use crate::http::rate_limit::RateLimit;

pub(super) async fn charge_refused<E: Endpoint<Output = Response>>(next: Arc<E>, request: Request) -> Result<Response> {
    let rate_limit = request.data::<RateLimit>().cloned();
    let result = next.call(request).await;
    if let Err(error) = &result
        // Faults of the server cost nothing.
        && error.downcast_ref::<Problem>().is_some_and(Problem::is_client_error)
        && let Some(rate_limit) = rate_limit
    {
        // Only a sign-in that succeeds passes a limit that is reached.
        if let Some(refusal) = rate_limit.refused_unless_known() {
            return Err(refusal.into());
        }
        if !rate_limit.is_charged() {
            rate_limit.charge_refused().await?;
        }
    }
    result
}
