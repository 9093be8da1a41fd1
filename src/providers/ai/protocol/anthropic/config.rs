//! The settings of a server that implements Anthropic's messages.

use reqwest::header::{HeaderMap, HeaderValue};

use crate::Secret;
use crate::ai::continuation::Continuation;
use crate::ai::error::AiError;
use crate::ai::protocol::endpoint::{Endpoint, key_header, model_name};
use crate::ai::timeouts::Timeouts;

/// The version of the interface that this module implements.
const VERSION: &str = "2023-06-01";

/// How to reach a server that implements Anthropic's messages.
#[derive(Debug, Clone)]
pub struct AnthropicConfig {
    /// What `/messages` is appended to, unless it ends so. An empty path becomes `/v1`; a query stays on every request.
    pub base_url: String,
    /// The key; `None` or an empty one sends no `x-api-key` header, for gateways that add the key themselves.
    pub api_key: Option<Secret>,
    /// The model to ask for, by the name that the provider gives it.
    pub model: String,
    /// The longest answer, in the provider's tokens, if the prompt does not state one. The interface requires one.
    pub max_output_tokens: u32,
    /// How long we wait.
    pub timeouts: Timeouts,
    /// How an answer is continued. For a model that refuses [`Continuation::Prefill`], [`Continuation::Prompt`] is used.
    pub continuation: Continuation,
}

pub(crate) struct Settings {
    pub(crate) endpoint: Endpoint,
    pub(crate) headers: HeaderMap,
    pub(crate) model: String,
    pub(crate) max_output_tokens: u32,
    pub(crate) timeouts: Timeouts,
    pub(crate) continuation: Continuation,
}

impl Settings {
    pub(crate) fn new(config: AnthropicConfig) -> Result<Self, AiError> {
        let mut headers = HeaderMap::new();
        headers.insert("anthropic-version", HeaderValue::from_static(VERSION));
        if let Some(key) = key_header(config.api_key.as_ref(), "")? {
            headers.insert("x-api-key", key);
        }
        Ok(Self {
            endpoint: Endpoint::anthropic(&config.base_url)?,
            headers,
            model: model_name(config.model)?,
            max_output_tokens: config.max_output_tokens,
            timeouts: config.timeouts,
            continuation: config.continuation,
        })
    }
}
