//! The settings of a server that implements OpenAI's chat completions.

use async_openai::config::Config;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use secrecy::SecretString;

use crate::Secret;
use crate::ai::continuation::Continuation;
use crate::ai::error::AiError;
use crate::ai::protocol::endpoint::{base_url, key_header, model_name};
use crate::ai::timeouts::Timeouts;

/// How to reach an OpenAI-compatible server.
#[derive(Debug, Clone)]
pub struct OpenAiConfig {
    /// What `/chat/completions` is appended to. An empty path becomes `/v1`.
    pub base_url: String,
    /// The key; `None` or an empty one sends no `Authorization` header, for local servers.
    pub api_key: Option<Secret>,
    /// The model to ask for, by the name that the provider gives it.
    pub model: String,
    /// The longest answer, in the provider's tokens, if the prompt does not state one; `None` leaves it to the provider.
    pub max_output_tokens: Option<u32>,
    /// How long we wait.
    pub timeouts: Timeouts,
    /// How an answer is continued. OpenAI supports only [`Continuation::Prompt`]; some local servers prefill.
    pub continuation: Continuation,
    /// `openai` or `custom`: the provider that messages state, and the name of the output limit's field.
    pub provider_name: &'static str,
}

pub(crate) struct Settings {
    pub(crate) base: String,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) model: String,
    pub(crate) max_output_tokens: Option<u32>,
    pub(crate) timeouts: Timeouts,
    pub(crate) continuation: Continuation,
    pub(crate) provider_name: &'static str,
    api_key: SecretString,
}

impl Settings {
    pub(crate) fn new(config: OpenAiConfig) -> Result<Self, AiError> {
        Ok(Self {
            base: base_url(&config.base_url)?,
            authorization: key_header(config.api_key.as_ref(), "Bearer ")?,
            model: model_name(config.model)?,
            max_output_tokens: config.max_output_tokens,
            timeouts: config.timeouts,
            continuation: config.continuation,
            provider_name: config.provider_name,
            api_key: config.api_key.unwrap_or_default(),
        })
    }

    /// Whether this is OpenAI itself, not a compatible server.
    pub(crate) fn is_official(&self) -> bool {
        self.provider_name == "openai"
    }
}

/// Not the crate's `OpenAIConfig`, because it reads the environment and panics on a key with a line break.
impl Config for Settings {
    fn headers(&self) -> HeaderMap {
        self.authorization
            .iter()
            .map(|value| (AUTHORIZATION, value.clone()))
            .collect()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn query(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }

    fn api_base(&self) -> &str {
        &self.base
    }

    fn api_key(&self) -> &SecretString {
        &self.api_key
    }
}
