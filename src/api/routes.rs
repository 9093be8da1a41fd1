//! The routes: one file for each noun of the URL, and their registry.

mod answer_response;
mod auth;
mod avatar;
mod chat;
mod conversations;
mod devices;
pub(crate) mod docs;
mod events;
mod export;
mod files;
mod health;
mod messages;
mod resumable;
mod sessions;
pub(crate) mod tag;
mod uploads;
mod usage;
mod users;
mod ws;

use poem_openapi::OpenApiService;

pub(crate) type Apis = (
    auth::AuthApi,
    sessions::SessionsApi,
    users::UsersApi,
    usage::UsageApi,
    avatar::AvatarApi,
    export::ExportApi,
    conversations::ConversationsApi,
    chat::ChatApi,
    messages::MessagesApi,
    devices::DevicesApi,
    uploads::UploadsApi,
    resumable::ResumableApi,
    files::FilesApi,
    events::EventsApi,
    ws::WsApi,
    health::HealthApi,
);

pub(crate) fn service() -> OpenApiService<Apis, ()> {
    let apis = (
        auth::AuthApi,
        sessions::SessionsApi,
        users::UsersApi,
        usage::UsageApi,
        avatar::AvatarApi,
        export::ExportApi,
        conversations::ConversationsApi,
        chat::ChatApi,
        messages::MessagesApi,
        devices::DevicesApi,
        uploads::UploadsApi,
        resumable::ResumableApi,
        files::FilesApi,
        events::EventsApi,
        ws::WsApi,
        health::HealthApi,
    );
    OpenApiService::new(apis, "Cura", env!("CARGO_PKG_VERSION"))
        .description("The backend of an AI that cares. Every error is `application/problem+json` (RFC 9457).")
}
