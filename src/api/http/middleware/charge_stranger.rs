//! Whoever is not signed in is charged by address before the body is read.

use poem::Request;

use crate::http::operation::Operation;
use crate::http::policy::Authentication;
use crate::http::problem::Problem;
use crate::http::rate_limit::RateLimit;

/// 429 if the address of a client that need not sign in has no budget left.
pub(super) async fn charge_stranger(request: &Request) -> Result<(), Problem> {
    let is_public = Operation::of(request).policy.authentication == Authentication::Public;
    match request.data::<RateLimit>() {
        Some(rate_limit) if is_public => rate_limit.charge_stranger().await,
        _ => Ok(()),
    }
}
