//! Checks the settings that every protocol shares: base URL, key and model.

use reqwest::Url;
use reqwest::header::HeaderValue;
use secrecy::ExposeSecret;

use crate::Secret;
use crate::ai::error::{AiError, Failure};

pub(crate) const fn misconfigured(what: &'static str) -> AiError {
    AiError::new(Failure::Misconfigured(what), true)
}

/// The value of the header that carries the key, marked as sensitive; `None` without a key.
pub(crate) fn key_header(key: Option<&Secret>, prefix: &str) -> Result<Option<HeaderValue>, AiError> {
    let Some(key) = key.map(ExposeSecret::expose_secret).filter(|key| !key.is_empty()) else {
        return Ok(None);
    };
    let mut value = HeaderValue::from_str(&format!("{prefix}{key}"))
        .map_err(|_| misconfigured("the key holds characters that no header can carry"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Checks that the model's name is not blank.
pub(crate) fn model_name(name: String) -> Result<String, AiError> {
    if name.trim().is_empty() {
        return Err(misconfigured("the model has no name"));
    }
    Ok(name)
}

/// Where a provider is reached: the URL that paths are appended to, and a query that every request carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    base: String,
    /// With its question mark; empty without one. It may hold a key.
    query: String,
    is_azure: bool,
}

/// The ends of addresses of other protocols, which are not understood here.
const OTHER_PROTOCOLS: [&str; 15] = [
    "/responses",
    "/v1/chat",
    "/v2/chat",
    "/audio/speech",
    "/audio/transcriptions",
    "/audio/translations",
    "/images/generations",
    "/images/edits",
    "/moderations",
    "/rerank",
    "/completions",
    "/embeddings",
    "/api/chat",
    "/api/generate",
    "/api/tags",
];

/// The hosts of Azure's own resources. (`models.inference.ai.azure.com` takes a bearer token.)
const AZURE_HOSTS: [&str; 3] = [
    ".openai.azure.com",
    ".cognitiveservices.azure.com",
    ".services.ai.azure.com",
];

const MESSAGES: &str = "/messages";
const CHAT_COMPLETIONS: &str = "/chat/completions";
const MODELS: &str = "/models";

impl Endpoint {
    /// Reads the URL of a server with OpenAI's protocol.
    pub(crate) fn openai(url: &str) -> Result<Self, AiError> {
        let endpoint = Self::read(url, CHAT_COMPLETIONS)?;
        if endpoint.ends_with(MESSAGES) {
            return Err(misconfigured(
                "the URL ends with /messages, which is Anthropic's protocol; set the provider to anthropic",
            ));
        }
        endpoint.of_no_other_protocol()
    }

    /// Reads the URL of a server with Anthropic's protocol.
    pub(crate) fn anthropic(url: &str) -> Result<Self, AiError> {
        let endpoint = Self::read(url, MESSAGES)?;
        if endpoint.ends_with(CHAT_COMPLETIONS) {
            return Err(misconfigured(
                "the URL ends with /chat/completions, which is OpenAI's protocol; set the provider to openai or custom",
            ));
        }
        endpoint.of_no_other_protocol()
    }

    /// Checks a URL and takes `own` and slashes from its end. An empty path becomes `/v1`.
    fn read(url: &str, own: &str) -> Result<Self, AiError> {
        let mut url = Url::parse(url.trim())
            .map_err(|_| misconfigured("the base URL is not a URL; it must begin with http:// or https://"))?;
        let Some(host) = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https")) else {
            return Err(misconfigured("the base URL must begin with http:// or https://"));
        };
        let is_azure_host = AZURE_HOSTS.iter().any(|end| host.ends_with(end));
        if !url.username().is_empty() || url.password().is_some() {
            return Err(misconfigured("the base URL must not hold a user name or password"));
        }
        if url.fragment().is_some() {
            return Err(misconfigured("the base URL must not have a fragment (#)"));
        }
        let is_azure = is_azure_host || url.query_pairs().any(|(name, _)| name == "api-version");
        let query = url.query().filter(|query| !query.is_empty());
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        url.set_query(None);
        if url.path().trim_matches('/').is_empty() {
            url.set_path("/v1");
        }
        let path = url.path().trim_end_matches('/').to_owned();
        // `/models` alone is the base of Azure's inference API.
        let path = without_end(&path, own).or_else(|| without_end(&path, MODELS).filter(|path| !path.is_empty()));
        if let Some(path) = path {
            url.set_path(path);
        }
        let base = url.as_str();
        Ok(Self {
            base: base.trim_end_matches('/').to_owned(),
            query,
            is_azure,
        })
    }

    fn of_no_other_protocol(self) -> Result<Self, AiError> {
        if OTHER_PROTOCOLS.into_iter().any(|end| self.ends_with(end)) {
            return Err(misconfigured(
                "the URL is the address of another protocol; set the base URL, such as https://host/v1",
            ));
        }
        Ok(self)
    }

    fn ends_with(&self, end: &str) -> bool {
        self.base.to_ascii_lowercase().ends_with(end)
    }

    /// The URL of a path below it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}{}", self.base, self.query)
    }

    /// What paths are appended to, without the query.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Whether it takes keys as Azure does.
    pub(crate) const fn is_azure(&self) -> bool {
        self.is_azure
    }
}

/// What stands before `end`, whatever its case.
fn without_end<'a>(path: &'a str, end: &str) -> Option<&'a str> {
    let (front, back) = path.split_at_checked(path.len().checked_sub(end.len())?)?;
    back.eq_ignore_ascii_case(end).then(|| front.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openai(url: &str) -> String {
        Endpoint::openai(url).unwrap().url("/chat/completions")
    }

    #[test]
    fn a_url_without_a_path_gets_v1() {
        for url in [
            "http://127.0.0.1:8080",
            "http://127.0.0.1:8080/",
            "http://127.0.0.1:8080//",
            " http://127.0.0.1:8080 ",
        ] {
            assert_eq!(openai(url), "http://127.0.0.1:8080/v1/chat/completions");
        }
    }

    #[test]
    fn a_url_with_a_path_is_kept() {
        assert_eq!(
            openai("https://x.test/api/v3/"),
            "https://x.test/api/v3/chat/completions"
        );
        assert_eq!(
            openai("https://x.test/v1beta/openai/"),
            "https://x.test/v1beta/openai/chat/completions"
        );
    }

    #[test]
    fn a_whole_address_is_understood() {
        for url in [
            "https://x.test/v1/chat/completions",
            "https://x.test/v1/chat/completions/",
            "https://x.test/v1/Chat/Completions//",
            "https://x.test/v1/models",
            "https://x.test/v1/",
        ] {
            assert_eq!(openai(url), "https://x.test/v1/chat/completions", "{url}");
        }
        assert_eq!(
            openai("https://x.test/chat/completions"),
            "https://x.test/chat/completions"
        );
        let anthropic = |url| Endpoint::anthropic(url).unwrap().url("/messages");
        for url in [
            "https://x.test",
            "https://x.test/v1/messages",
            "https://x.test/v1/messages/",
        ] {
            assert_eq!(anthropic(url), "https://x.test/v1/messages", "{url}");
        }
    }

    #[test]
    fn a_query_stays_on_every_request_and_azure_is_recognised() {
        let azure = "https://x.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21";
        let endpoint = Endpoint::openai(azure).unwrap();
        assert_eq!(endpoint.url("/chat/completions"), azure);
        assert!(endpoint.is_azure());
        assert!(
            Endpoint::openai("https://x.openai.azure.com/openai/v1/")
                .unwrap()
                .is_azure()
        );
        assert!(
            Endpoint::openai("https://gateway.test/d?api-version=1")
                .unwrap()
                .is_azure()
        );
        let inference = "https://x.services.ai.azure.com/models/chat/completions?api-version=2024-05-01-preview";
        assert_eq!(Endpoint::openai(inference).unwrap().url("/chat/completions"), inference);
        assert_eq!(
            openai("https://x.test/models"),
            "https://x.test/models/chat/completions"
        );
        let other = Endpoint::openai("https://x.test/v1?tenant=1").unwrap();
        assert_eq!(other.url("/models"), "https://x.test/v1/models?tenant=1");
        assert!(!other.is_azure());
    }

    #[test]
    fn an_unusable_url_is_refused() {
        for url in [
            "",
            "x.test",
            "ftp://x.test",
            "https://u:p@x.test",
            "https://x.test/v1#x",
            "https://x.test/v1/messages",
            "https://x.test/v1/responses",
            "https://x.test/v1/completions",
            "https://x.test/v1/chat",
            "https://x.test/v1/audio/speech",
            "https://x.test/v1/images/generations/",
            "http://localhost:11434/api/chat",
        ] {
            assert!(Endpoint::openai(url).is_err(), "{url}");
        }
        assert!(Endpoint::anthropic("https://x.test/v1/chat/completions").is_err());
    }
}
