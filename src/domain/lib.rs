//! Ids, entities and rules. Pure functions and data: no I/O, and time and randomness come from the caller.

pub mod account;
pub mod answer;
pub mod answer_cursor;
pub mod app_link;
pub mod clock;
pub mod conversation;
pub mod cursor;
pub mod device;
pub mod event;
pub mod export;
pub mod idempotency;
pub mod ids;
pub mod message;
pub mod model;
mod model_name;
pub mod model_reply;
pub mod notice;
pub mod notifications;
pub mod paid_calls;
pub mod profile;
pub mod prompt;
pub mod push_decision;
pub mod push_endpoint;
pub mod push_log;
pub mod push_text;
pub mod session;
mod stored_words;
pub mod text;
pub mod token_estimate;
pub mod usage;
pub mod user;

pub use clock::{Clock, Entropy};
pub use ids::{ConversationId, DeviceId, MessageId, SessionId, UserId};
pub use model::ModelRef;
pub use model_name::model_name;
