//! What TUS 1.0 asks of everything under its path: every response says the version, and a header may say the method, for networks that let
//! only GET and POST through.

use std::sync::Arc;

use poem::http::{HeaderName, HeaderValue, Method};
use poem::{Endpoint, Request, Response, Result};

use crate::http::tus::{PATH, TUS_RESUMABLE, VERSION};

const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

pub(super) async fn tus<E: Endpoint<Output = Response>>(next: Arc<E>, mut request: Request) -> Result<Response> {
    let below = request.uri().path().strip_prefix(PATH);
    if !below.is_some_and(|below| below.is_empty() || below.starts_with('/')) {
        return next.call(request).await;
    }
    if let Some(method) = overriding(&request) {
        request.set_method(method);
    }
    let mut response = next.call(request).await?;
    let version = HeaderValue::from_static(VERSION);
    response.headers_mut().insert(TUS_RESUMABLE, version);
    Ok(response)
}

/// The method that is meant by a POST.
fn overriding(request: &Request) -> Option<Method> {
    let meant = request.headers().get(METHOD_OVERRIDE)?.as_bytes();
    let meant = Method::from_bytes(meant).ok()?;
    let is_ours = [Method::PATCH, Method::HEAD, Method::DELETE].contains(&meant);
    (request.method() == Method::POST && is_ours).then_some(meant)
}
