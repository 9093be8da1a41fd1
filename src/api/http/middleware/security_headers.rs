//! Headers that tell browsers not to cache, guess, frame or run anything, unless the response sets its own.

use std::sync::Arc;

use poem::http::{HeaderName, HeaderValue, header};
use poem::{Endpoint, Request, Response, Result};

pub(super) async fn security_headers<E: Endpoint<Output = Response>>(
    next: Arc<E>,
    request: Request,
) -> Result<Response> {
    let mut response = next.call(request).await?;
    let headers = response.headers_mut();
    let mut ensure = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    ensure(header::CACHE_CONTROL, "no-store");
    ensure(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    ensure(header::REFERRER_POLICY, "no-referrer");
    ensure(header::X_FRAME_OPTIONS, "DENY");
    ensure(
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    );
    Ok(response)
}
