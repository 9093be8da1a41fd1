//! Errors of poem and poem-openapi become problems.

use std::sync::Arc;

use poem::error::MethodNotAllowedError;
use poem::{Endpoint, Request, Response, Result};
use poem_openapi::error::ParseParamError;

use crate::http::framework_errors::problem_of;
use crate::http::operation::Operation;
use crate::http::query::invalid_query;

pub(super) async fn translate_errors<E: Endpoint<Output = Response>>(
    next: Arc<E>,
    request: Request,
) -> Result<Response> {
    let (operation, uri) = (Operation::of(&request), request.uri().clone());
    next.call(request).await.map_err(|error| {
        if let Some(found) = error.downcast_ref::<ParseParamError>() {
            return invalid_query(operation.query_parameters(), &uri, found).into();
        }
        let problem = problem_of(&error);
        if error.is::<MethodNotAllowedError>() {
            problem.with_allow(operation.allow()).into()
        } else {
            problem.into()
        }
    })
}
