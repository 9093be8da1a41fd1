//! HTTP, SSE, WebSocket and the OpenAPI document: what clients see of Cura.
//!
//! Handlers decode, call one use case of `cura_app`, and encode. Whatever goes wrong becomes a [`http::problem::Problem`],
//! which the outermost layer renders.

mod http;
mod openapi;
mod realtime;
mod routes;
mod views;

use cura_app::App;
use http::middleware;
use http::operation::Operations;
use poem::{Endpoint, EndpointExt, Response, Route};

pub use http::client_address::{InvalidProxies, TrustedProxies};
pub use http::middleware::cors::Origins;
pub use http::policy::{Authentication, BodyLimit, Policy, RateClass, policies};
pub use http::rate_limit::{RateLimits, Rates};
pub use http::server::serve;
pub use http::shutdown::Shutdown;
pub use openapi::openapi;

/// The whole API, ready to be served. Streams end when `shutdown` begins.
pub fn api(
    app: App,
    origins: Origins,
    limits: RateLimits,
    shutdown: Shutdown,
) -> impl Endpoint<Output = Response> + 'static {
    let document = openapi();
    let settings = middleware::Settings {
        operations: Operations::new(&document),
        origins,
        limits,
        entropy: app.entropy.clone(),
    };
    let documented = openapi::routes(&document).nest("/", routes::service());
    let routes = Route::new().nest("/", documented.data(app).data(shutdown));
    middleware::wrap(routes.map_to_response(), settings)
}
