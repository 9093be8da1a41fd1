//! Gives each request its id: in its data, in the span of its log lines, and in its response.

use std::sync::Arc;

use cura_domain::Entropy;
use poem::{Endpoint, Request, Response, Result};
use tracing::Instrument;

use crate::http::request_id::{REQUEST_ID, RequestId};

pub(super) async fn request_id<E: Endpoint<Output = Response>>(
    entropy: Entropy,
    next: Arc<E>,
    mut request: Request,
) -> Result<Response> {
    let id = RequestId::choose(request.headers(), &entropy);
    let span = tracing::info_span!("request", request_id = id.as_str());
    request.set_data(id.clone());
    let mut response = next.call(request).instrument(span).await?;
    response.headers_mut().insert(REQUEST_ID, id.0);
    Ok(response)
}
