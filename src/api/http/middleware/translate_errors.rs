//! Errors of poem and poem-openapi become problems.

use std::sync::Arc;

use poem::error::MethodNotAllowedError;
use poem::{Endpoint, Request, Response, Result};

use crate::http::framework_errors::problem_of;
use crate::http::operation::Operation;

pub(super) async fn translate_errors<E: Endpoint<Output = Response>>(
    next: Arc<E>,
    request: Request,
) -> Result<Response> {
    let operation = Operation::of(&request);
    next.call(request).await.map_err(|error| {
        let problem = problem_of(&error);
        if error.is::<MethodNotAllowedError>() {
            problem.with_allow(operation.allow()).into()
        } else {
            problem.into()
        }
    })
}
