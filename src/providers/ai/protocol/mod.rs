//! The wire protocols of AI providers, and the HTTP that they share.

mod answer_events;
mod anthropic;
mod content;
mod endpoint;
mod error_response;
mod event_body;
mod http;
mod http_client;
mod json_cut;
mod json_repair;
mod openai;
mod quoted_words;
mod reading;
mod reported_tokens;
mod request_messages;
mod stray_text;

pub use anthropic::AnthropicConfig;
pub(crate) use anthropic::{Anthropic, PROVIDER as ANTHROPIC};
pub(crate) use openai::OpenAi;
pub use openai::OpenAiConfig;
pub(crate) use reading::is_error_name;
