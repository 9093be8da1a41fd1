//! HTTP, server-sent events, WebSockets and the OpenAPI document: what clients see of Cura.
//!
//! A handler decodes the request, calls one use case of `cura_app`, and encodes the result. Every error becomes a
//! `Problem`, which the middleware renders. `http` serves every request, `routes` has a file for each noun of the URL,
//! `realtime` sends events, and `views` are the resources that both return.

#[cfg(feature = "board")]
mod board;
mod http;
mod openapi;
mod realtime;
mod routes;
mod views;

use std::sync::Arc;

use cura_app::App;
use http::admission;
use http::arriving_parts::ArrivingParts;
use http::middleware::{self, only_documented};
use http::operation::Operations;
use http::problem::Problem;
use poem::endpoint::{DynEndpoint, ToDynEndpoint, make};
use poem::http::Method;
use poem::{Endpoint, EndpointExt, IntoEndpoint, Request, Response, Route};

#[cfg(feature = "board")]
pub use board::{BoardParts, PgPool, board};
pub use http::admission::{CLOSING_RESERVE, ConnectionLimits, PROBE_RESERVE};
pub use http::client_address::{ClientAddressHeader, InvalidProxies, TrustedProxies, UnknownHeader};
pub use http::middleware::cors::Origins;
pub use http::policy::{Authentication, BodyLimit, Policy, RateClass, policies};
pub use http::rate_limit::{RateLimits, Rates};
pub use http::server::{Edge, serve};
pub use http::shutdown::Shutdown;
pub use openapi::openapi;
pub use realtime::user_connections::UserConnections;

/// The media type of Prometheus' text format.
const METRICS_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers requests. Cheap to clone.
pub type Api = Arc<dyn DynEndpoint<Output = Response>>;

/// The whole API, ready to be served. Streams end when `shutdown` begins.
pub fn api(app: App, origins: Origins, limits: RateLimits, connections: UserConnections, shutdown: Shutdown) -> Api {
    let document = openapi();
    let settings = middleware::Settings {
        operations: Operations::new(&openapi::of_routes()),
        origins,
        limits,
        entropy: app.entropy.clone(),
    };
    let operations = routes::service()
        .into_endpoint()
        .around(only_documented::only_documented);
    let documented = routes::docs::routes(&document, openapi::redoc_html()).nest("/", operations);
    let routes = Route::new().nest(
        "/",
        documented
            .data(app)
            .data(connections)
            .data(ArrivingParts::default())
            .data(shutdown),
    );
    Arc::new(ToDynEndpoint(middleware::wrap(routes.map_to_response(), settings)))
}

/// For a port that is not open to the world: `/health/live` and `/health/ready` of `api`, and at `/metrics` what `metrics` gives, in the text
/// format of Prometheus.
pub fn probes(api: &Api, metrics: impl Fn() -> String + Send + Sync + 'static) -> Api {
    let (api, metrics) = (Arc::clone(api), Arc::new(metrics));
    Arc::new(ToDynEndpoint(make(move |request: Request| {
        let (api, metrics) = (Arc::clone(&api), Arc::clone(&metrics));
        async move {
            if admission::is_probe(request.method(), request.uri().path()) {
                return api.get_response(request).await;
            }
            if *request.method() == Method::GET && request.uri().path() == "/metrics" {
                return Response::builder().content_type(METRICS_FORMAT).body(metrics());
            }
            let detail = "This port tells the health and the metrics of the server, and nothing else.";
            Problem::not_found("not_found", detail).render("unknown")
        }
    })))
}
