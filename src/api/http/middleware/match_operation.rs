//! Finds the operation of a request, with its policy, for all other layers and the handler.

use std::sync::Arc;

use poem::{Endpoint, Request, Response, Result};

use crate::http::operation::Operations;

pub(super) async fn match_operation<E: Endpoint<Output = Response>>(
    operations: Arc<Operations>,
    next: Arc<E>,
    mut request: Request,
) -> Result<Response> {
    let operation = operations.find(request.method(), request.uri().path());
    request.set_data(operation);
    next.call(request).await
}
