//! The wire protocols of AI providers, and the HTTP that they share.

mod anthropic;
mod endpoint;
mod error_response;
mod http;
mod openai;
mod quoted_words;
mod reported_tokens;
mod request_messages;

pub use anthropic::AnthropicConfig;
pub(crate) use anthropic::{Anthropic, PROVIDER as ANTHROPIC};
pub(crate) use openai::OpenAi;
pub use openai::OpenAiConfig;
