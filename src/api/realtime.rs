//! Events as they happen, by server-sent events and WebSockets.

mod frames;
pub(crate) mod last_event_id;
pub(crate) mod schema;
pub(crate) mod socket;
pub(crate) mod sse;
pub(crate) mod user_connections;
