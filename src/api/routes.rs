//! The routes: one file for each noun of the URL, and here the list of all.

pub(crate) mod auth;
pub(crate) mod chat;
pub(crate) mod conversations;
pub(crate) mod events;
pub(crate) mod export;
pub(crate) mod health;
pub(crate) mod messages;
pub(crate) mod tag;
pub(crate) mod users;
pub(crate) mod ws;

use poem_openapi::OpenApiService;

pub(crate) type Apis = (
    auth::AuthApi,
    users::UsersApi,
    conversations::ConversationsApi,
    chat::ChatApi,
    messages::AnswersApi,
    events::EventsApi,
    ws::WsApi,
    health::HealthApi,
);

pub(crate) fn service() -> OpenApiService<Apis, ()> {
    let apis = (
        auth::AuthApi,
        users::UsersApi,
        conversations::ConversationsApi,
        chat::ChatApi,
        messages::AnswersApi,
        events::EventsApi,
        ws::WsApi,
        health::HealthApi,
    );
    OpenApiService::new(apis, "Cura", env!("CARGO_PKG_VERSION"))
        .description("The backend of an AI that cares. Every error is `application/problem+json` (RFC 9457).")
}
