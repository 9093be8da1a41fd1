//! The wire protocols of AI providers, and the HTTP they share.

pub(crate) mod anthropic;
pub(crate) mod endpoint;
mod error_response;
mod http;
pub(crate) mod openai;
pub(crate) mod request_messages;
