//! The middleware that every request passes, one concern in each file, composed here in one order.

mod accept;
mod access_log;
mod catch_panic;
mod charge_refused;
mod charge_stranger;
mod content_encoding;
pub(crate) mod cors;
mod drain_body;
mod match_operation;
pub(crate) mod only_documented;
mod rate_limit;
mod readable_headers;
mod render_problems;
mod request_id;
mod security_headers;
mod timeout;
mod translate_errors;
mod tus;

use std::sync::Arc;

use cura_domain::Entropy;
use poem::{Endpoint, EndpointExt, Request, Response, Result};

use crate::http::operation::Operations;
use crate::http::rate_limit::RateLimits;
use cors::Origins;

/// What the middleware depends on.
pub(crate) struct Settings {
    pub(crate) operations: Operations,
    pub(crate) origins: Origins,
    pub(crate) limits: RateLimits,
    pub(crate) entropy: Entropy,
}

/// Wraps `routes`. The first line is the innermost layer: it sees the request last and the response first.
pub(crate) fn wrap(
    routes: impl Endpoint<Output = Response> + 'static,
    settings: Settings,
) -> impl Endpoint<Output = Response> + 'static {
    let Settings {
        operations,
        origins,
        limits,
        entropy,
    } = settings;
    let (operations, origins) = (Arc::new(operations), Arc::new(origins));
    let cors_limits = limits.clone();
    routes
        .around(catch_panic::catch_panic)
        .around(translate_errors::translate_errors)
        // Around the handler only: the time that a discarded body takes has its own limit.
        .around(timeout::timeout)
        .around(check_request)
        // Outside of everything that may refuse a request, and inside of rendering, because it may replace the refusal by a 429.
        .around(charge_refused::charge_refused)
        // The futures of all layers in one type are more than the compiler takes.
        .boxed()
        // From here on outwards there are responses only, so that the headers below are set on problems, too.
        .around(render_problems::render_problems)
        // Inside of CORS: a preflight request is not charged.
        .around(move |next, request| rate_limit::rate_limit(limits.clone(), next, request))
        .around(move |next, request| cors::cors(Arc::clone(&origins), cors_limits.clone(), next, request))
        .around(security_headers::security_headers)
        // Outside of everything that takes time or sets the status.
        .around(access_log::access_log)
        // Outside of everything that logs or renders a problem.
        .around(move |next, request| request_id::request_id(entropy.clone(), next, request))
        // Outermost but one: the layers above read the operation and its policy.
        .around(move |next, request| match_operation::match_operation(Arc::clone(&operations), next, request))
        // Which operation it is, a header may say.
        .around(tus::tus)
}

/// Refuses requests that no handler should see, cheapest check first, and prepares the others.
async fn check_request<E: Endpoint<Output = Response>>(next: Arc<E>, mut request: Request) -> Result<Response> {
    charge_stranger::charge_stranger(&request).await?;
    content_encoding::refuse_compressed(&request)?;
    readable_headers::refuse_unreadable(&request)?;
    accept::refuse_unacceptable(&request)?;
    drain_body::drain_body(&mut request).await?;
    next.call(request).await
}

#[cfg(test)]
mod tests {
    use cura_app::limits::RateLimiter;
    use poem::endpoint::make_sync;
    use poem::http::{StatusCode, Uri, header};

    use super::*;
    use crate::http::client_address::TrustedProxies;
    use crate::http::rate_limit::Rates;

    #[tokio::test]
    async fn a_panic_is_an_internal_error_that_reveals_nothing() {
        let unlimited = Rates {
            auth: 0,
            chat: 0,
            upload: 0,
            default: 0,
        };
        let routes = make_sync(|_| -> Response { panic!("a secret") });
        let api = wrap(
            routes,
            Settings {
                operations: Operations::new(&serde_json::json!({ "paths": {} })),
                origins: Origins::new(&[]),
                limits: RateLimits::new(&RateLimiter::in_process(), unlimited, TrustedProxies::default()),
                entropy: Entropy::new(|buffer| buffer.fill(7)),
            },
        );
        let request = Request::builder().uri(Uri::from_static("/anything")).finish();
        let mut response = api.call(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let body = response.take_body().into_string().await.unwrap();
        assert!(body.contains("internal_error") && !body.contains("secret"), "{body}");
    }
}
