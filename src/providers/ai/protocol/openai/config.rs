//! The settings of a server that implements OpenAI's chat completions.

use async_openai::config::Config;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;

use crate::Secret;
use crate::ai::continuation::Continuation;
use crate::ai::error::AiError;
use crate::ai::protocol::endpoint::{Endpoint, key_header, model_name};
use crate::ai::request_form::{Parameter, ParametersOff};
use crate::ai::timeouts::Timeouts;

/// The header in which Azure takes a key. (`Authorization` is for its tokens.)
const AZURE_KEY: HeaderName = HeaderName::from_static("api-key");

/// How to reach an OpenAI-compatible server.
#[derive(Debug, Clone)]
pub struct OpenAiConfig {
    /// What `/chat/completions` is appended to, unless it ends so. An empty path becomes `/v1`; a query stays on every request.
    pub base_url: String,
    /// The key; `None` or an empty one sends none, for local servers. Azure gets it as `api-key`, others as a bearer token.
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
    /// Parameters that are never sent.
    pub parameters_off: ParametersOff,
}

pub(crate) struct Settings {
    pub(crate) endpoint: Endpoint,
    key: Option<(HeaderName, HeaderValue)>,
    pub(crate) model: String,
    pub(crate) max_output_tokens: Option<u32>,
    pub(crate) timeouts: Timeouts,
    pub(crate) continuation: Continuation,
    pub(crate) provider_name: &'static str,
    pub(crate) parameters_off: ParametersOff,
    api_key: SecretString,
}

impl Settings {
    pub(crate) fn new(config: OpenAiConfig) -> Result<Self, AiError> {
        let endpoint = Endpoint::openai(&config.base_url)?;
        let (name, prefix) = if endpoint.is_azure() {
            (AZURE_KEY, "")
        } else {
            (AUTHORIZATION, "Bearer ")
        };
        Ok(Self {
            endpoint,
            key: key_header(config.api_key.as_ref(), prefix)?.map(|key| (name, key)),
            model: model_name(config.model)?,
            max_output_tokens: config.max_output_tokens,
            timeouts: config.timeouts,
            continuation: config.continuation,
            provider_name: config.provider_name,
            parameters_off: config.parameters_off,
            api_key: config.api_key.unwrap_or_default(),
        })
    }

    /// Whether this is OpenAI itself, not a compatible server.
    pub(crate) fn is_official(&self) -> bool {
        self.provider_name == "openai"
    }

    /// The name of the longest answer. OpenAI's newer models refuse `max_tokens`; most other servers know nothing else.
    pub(crate) fn output_limit(&self) -> Parameter {
        if self.is_official() {
            Parameter::MaxCompletionTokens
        } else {
            Parameter::MaxTokens
        }
    }
}

/// Not the crate's `OpenAIConfig`, because it reads the environment and panics on a key with a line break.
impl Config for Settings {
    fn headers(&self) -> HeaderMap {
        self.key.iter().cloned().collect()
    }

    fn url(&self, path: &str) -> String {
        self.endpoint.url(path)
    }

    /// The query of the endpoint is part of every URL.
    fn query(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }

    fn api_base(&self) -> &str {
        self.endpoint.base()
    }

    fn api_key(&self) -> &SecretString {
        &self.api_key
    }
}
