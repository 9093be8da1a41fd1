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

/// Checks the URL that paths are appended to, and removes a slash at its end. An empty path becomes `/v1`.
pub(crate) fn base_url(url: &str) -> Result<String, AiError> {
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
    use super::base_url;

    #[test]
    fn a_base_url_without_a_path_gets_v1() {
        for url in [
            "http://127.0.0.1:8080",
            "http://127.0.0.1:8080/",
            " http://127.0.0.1:8080 ",
        ] {
            assert_eq!(base_url(url).as_deref(), Ok("http://127.0.0.1:8080/v1"));
        }
    }

    #[test]
    fn a_base_url_with_a_path_is_kept() {
        assert_eq!(
            base_url("https://x.test/api/v3/").as_deref(),
            Ok("https://x.test/api/v3")
        );
    }

    #[test]
    fn an_unusable_base_url_is_refused() {
        for url in [
            "",
            "x.test",
            "ftp://x.test",
            "https://u:p@x.test",
            "https://x.test/v1?key=1",
        ] {
            assert!(base_url(url).is_err(), "{url}");
        }
    }
}
