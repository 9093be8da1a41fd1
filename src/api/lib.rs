//! HTTP, SSE, WebSocket and the OpenAPI document: what clients see of Cura.
//!
//! Handlers decode, call one use case of `cura_app`, and encode. Whatever goes wrong becomes a [`problem::Problem`],
//! which the outermost layer renders.

mod answers;
mod auth;
mod caller;
mod chat;
mod client_address;
mod closing;
mod conversations;
mod cors;
mod document;
mod event_stream;
mod events;
mod export;
mod front;
mod health;
mod limits;
mod messages;
mod paging;
mod parser_problems;
mod paths;
pub mod payload;
mod prefer;
pub mod problem;
mod serve;
mod socket;
mod sse;
mod users;

use cura_app::App;
use poem::{Endpoint, EndpointExt, Response, Route};
use poem_openapi::{OpenApiService, Tags};

pub use client_address::{InvalidProxies, TrustedProxies};
pub use closing::Closing;
pub use cors::Origins;
pub use document::openapi;
pub use limits::{Limits, Rates};
pub use serve::serve;

#[derive(Tags)]
enum Tag {
    /// Signing up, in and out, and who one is.
    Accounts,
    /// What was said, and when.
    Conversations,
    /// Sending messages and watching their answers come.
    Chat,
    /// Whether Cura is well.
    Health,
}

type Apis = (
    auth::AuthApi,
    users::UsersApi,
    conversations::ConversationsApi,
    chat::ChatApi,
    answers::AnswersApi,
    event_stream::EventsApi,
    socket::SocketApi,
    health::HealthApi,
);

fn service() -> OpenApiService<Apis, ()> {
    let apis = (
        auth::AuthApi,
        users::UsersApi,
        conversations::ConversationsApi,
        chat::ChatApi,
        answers::AnswersApi,
        event_stream::EventsApi,
        socket::SocketApi,
        health::HealthApi,
    );
    OpenApiService::new(apis, "Cura", env!("CARGO_PKG_VERSION"))
        .description("The backend of an AI that cares. Every error is `application/problem+json` (RFC 9457).")
}

/// The whole API, ready to be served. Streams end when `closing` does.
pub fn api(app: App, origins: Origins, limits: Limits, closing: Closing) -> impl Endpoint<Output = Response> + 'static {
    let document = openapi();
    let paths = paths::Paths::new(&document);
    let entropy = app.entropy().clone();
    let routes = document::routes(&document).nest("/", service()).data(app).data(closing);
    front::Front {
        inner: Route::new().nest("/", routes).map_to_response(),
        paths,
        origins,
        limits,
        entropy,
    }
}
