//! Where the provider is and how long we wait for it, checked once.

use std::time::Duration;

use async_openai::config::Config;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::super::{AiError, Failure};
use crate::Secret;

/// How to reach an OpenAI-compatible server.
#[derive(Debug, Clone)]
pub struct OpenAiConfig {
    /// What `/chat/completions` is added to. With an empty path, `/v1` is put in between.
    pub base_url: String,
    /// The key; `None` or an empty one sends no `Authorization` at all, which local servers accept.
    pub api_key: Option<Secret>,
    /// The model to ask for, in the provider's words.
    pub model: String,
    /// For TCP and TLS.
    pub connect_timeout: Duration,
    /// From the call to the first event of the answer. Generous: local models think before they speak.
    pub first_byte_timeout: Duration,
    /// Between two events of the answer; comments that merely keep the connection open do not count.
    pub idle_timeout: Duration,
    /// From the call to the end of the answer.
    pub total_timeout: Duration,
    /// `openai` or `custom`: what messages name as their provider, and how the output limit is spelled.
    pub provider_name: &'static str,
}

pub(super) struct Settings {
    pub(super) base: String,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) model: String,
    pub(super) connect_timeout: Duration,
    pub(super) first_byte_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) total_timeout: Duration,
    pub(super) provider_name: &'static str,
    api_key: SecretString,
}

impl Settings {
    pub(super) fn new(config: OpenAiConfig) -> Result<Self, AiError> {
        let wrong = |what| AiError::new(Failure::Misconfigured(what), true);
        if config.model.trim().is_empty() {
            return Err(wrong("the model has no name"));
        }
        let api_key = config.api_key.unwrap_or_default();
        let authorization = match api_key.expose_secret() {
            "" => None,
            key => {
                let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
                    .map_err(|_| wrong("the key holds characters that no header can carry"))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Self {
            base: base(&config.base_url).map_err(wrong)?,
            authorization,
            model: config.model,
            connect_timeout: config.connect_timeout,
            first_byte_timeout: config.first_byte_timeout,
            idle_timeout: config.idle_timeout,
            total_timeout: config.total_timeout,
            provider_name: config.provider_name,
            api_key,
        })
    }
}

fn base(url: &str) -> Result<String, &'static str> {
    let mut url = Url::parse(url.trim()).map_err(|_| "the base URL is not a URL")?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("the base URL must begin with http:// or https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the base URL must not hold a user name or password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("the base URL must not have a query or fragment");
    }
    if matches!(url.path(), "" | "/") {
        url.set_path("/v1");
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
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

#[cfg(test)]
mod tests {
    use super::base;

    #[test]
    fn a_base_without_a_path_gets_v1() {
        for url in [
            "http://127.0.0.1:8080",
            "http://127.0.0.1:8080/",
            " http://127.0.0.1:8080 ",
        ] {
            assert_eq!(base(url).as_deref(), Ok("http://127.0.0.1:8080/v1"));
        }
    }

    #[test]
    fn a_base_with_a_path_is_kept() {
        assert_eq!(base("https://x.test/api/v3/").as_deref(), Ok("https://x.test/api/v3"));
    }

    #[test]
    fn a_base_that_cannot_work_is_refused() {
        for url in [
            "",
            "x.test",
            "ftp://x.test",
            "https://u:p@x.test",
            "https://x.test/v1?key=1",
        ] {
            assert!(base(url).is_err(), "{url}");
        }
    }
}
