//! What every dialect's settings share: where the provider is and how long we wait for it, checked once.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderValue;
use secrecy::ExposeSecret;

use crate::Secret;
use crate::ai::{AiError, Failure};

/// How long we wait for a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For TCP and TLS.
    pub connect: Duration,
    /// From the call to the first event of the answer. Generous: local models think before they speak.
    pub first_byte: Duration,
    /// Between two events of the answer; what merely keeps the connection open does not count.
    pub idle: Duration,
    /// From the call to the end of the answer.
    pub total: Duration,
}

/// How a provider is brought to go on with an answer that broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuation {
    /// The last message is the model's own, unfinished: it goes on with the next token.
    Prefill,
    /// A further message asks it to go on.
    Prompt,
    /// It cannot.
    Off,
}

pub(crate) const fn misconfigured(what: &'static str) -> AiError {
    AiError::new(Failure::Misconfigured(what), true)
}

/// A key as the value of a header: never shown, and `None` when there is none.
pub(crate) fn key_header(key: Option<&Secret>, prefix: &str) -> Result<Option<HeaderValue>, AiError> {
    let Some(key) = key.map(ExposeSecret::expose_secret).filter(|key| !key.is_empty()) else {
        return Ok(None);
    };
    let mut value = HeaderValue::from_str(&format!("{prefix}{key}"))
        .map_err(|_| misconfigured("the key holds characters that no header can carry"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// The model's name, which is not blank.
pub(crate) fn model(name: String) -> Result<String, AiError> {
    if name.trim().is_empty() {
        return Err(misconfigured("the model has no name"));
    }
    Ok(name)
}

/// What paths are added to, without a slash at its end. With an empty path, `/v1` is put in between.
pub(crate) fn base(url: &str) -> Result<String, AiError> {
    let mut url = Url::parse(url.trim()).map_err(|_| misconfigured("the base URL is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(misconfigured("the base URL must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(misconfigured("the base URL must not hold a user name or password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(misconfigured("the base URL must not have a query or fragment"));
    }
    if matches!(url.path(), "" | "/") {
        url.set_path("/v1");
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
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
