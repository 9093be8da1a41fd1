//! HTTP, server-sent events, WebSockets and the OpenAPI document: what clients see of Cura.
//!
//! A handler decodes the request, calls one use case of `cura_app`, and encodes the result. Every error becomes a
//! `Problem`, which the middleware renders. `http` serves every request, `routes` has a file for each noun of the URL,
//! `realtime` sends events, and `views` are the resources that both return.

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
    let documented = routes::docs::routes(&document, openapi::redoc_html()).nest("/", routes::service());
    let routes = Route::new().nest("/", documented.data(app).data(shutdown));
    middleware::wrap(routes.map_to_response(), settings)
}
