//! A panic of a handler becomes an internal error.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use poem::{Endpoint, Request, Response, Result};

use crate::http::problem::Problem;

pub(super) async fn catch_panic<E: Endpoint<Output = Response>>(next: Arc<E>, request: Request) -> Result<Response> {
    let handled = AssertUnwindSafe(next.call(request)).catch_unwind().await;
    handled.unwrap_or_else(|_| {
        // The panic hook has logged where.
        tracing::error!("handler panicked");
        Err(Problem::internal().into())
    })
}
