//! How an OpenAI-compatible server is reached.

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
    /// What `/chat/completions` is added to. With an empty path, `/v1` is put in between.
    pub base_url: String,
    /// The key; `None` or an empty one sends no `Authorization` at all, which local servers accept.
    pub api_key: Option<Secret>,
    /// The model to ask for, in the provider's words.
    pub model: String,
    /// The longest answer, in the provider's tokens, where the prompt does not say; `None` leaves it to the provider.
    pub max_output_tokens: Option<u32>,
    /// How long we wait.
    pub timeouts: Timeouts,
    /// How an answer is continued. OpenAI itself only knows [`Continuation::Prompt`]; some local servers prefill.
    pub continuation: Continuation,
    /// `openai` or `custom`: what messages name as their provider, and how the output limit is spelled.
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

    /// Whether this is OpenAI itself, not one of its imitators.
    pub(crate) fn is_official(&self) -> bool {
        self.provider_name == "openai"
    }
}

/// Our own, because the crate's `OpenAIConfig` reads the environment and panics on a key with a line break.
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
