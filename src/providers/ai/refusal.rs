//! Errors a provider sends instead of an answer, before a dialect judges them.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::header::RETRY_AFTER;
use serde_json::Value;

use super::Failure;

/// As much of an error's body as we read.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// A provider that asks for more patience than this is as good as down.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// An error as it came. What its words say is judged and then forgotten: they may quote the prompt.
pub(super) struct Refusal {
    /// The HTTP status; `None` when it came as an event of an answer.
    pub(super) status: Option<u16>,
    /// The value of `Retry-After`.
    pub(super) retry_after: Option<Duration>,
    error: Value,
}

impl Refusal {
    /// Reads a response that is not 2xx: a bounded part of its body; the caller's deadline bounds the time.
    pub(super) async fn read(response: reqwest::Response) -> Result<Self, Failure> {
        let status = response.status().as_u16();
        if (300..400).contains(&status) {
            return Err(Failure::Misconfigured("the provider redirects; set its final address"));
        }
        let header = response.headers().get(RETRY_AFTER);
        let retry_after = header.and_then(|value| value.to_str().ok()).and_then(seconds);
        let mut body = Vec::new();
        let mut parts = response.bytes_stream();
        while let Some(Ok(part)) = parts.next().await {
            let room = MAX_BODY_BYTES - body.len();
            body.extend_from_slice(part.get(..room).unwrap_or(&part));
            if body.len() == MAX_BODY_BYTES {
                break;
            }
        }
        let mut value: Value = serde_json::from_slice(&body).unwrap_or_default();
        let error = value.get_mut("error").map(Value::take).unwrap_or(value);
        Ok(Self {
            status: Some(status),
            retry_after,
            error,
        })
    }

    /// An error object that came as an event of an answer.
    pub(super) const fn within(error: Value) -> Self {
        Self {
            status: None,
            retry_after: None,
            error,
        }
    }

    /// A word of the error object, in lower case; empty when there is none.
    pub(super) fn word(&self, key: &str) -> String {
        let word = self.error.get(key).and_then(Value::as_str);
        word.unwrap_or_default().to_ascii_lowercase()
    }

    /// A number of the error object that can be a status.
    pub(super) fn number(&self, key: &str) -> Option<u16> {
        let number = self.error.get(key).and_then(Value::as_u64);
        number.and_then(|number| u16::try_from(number).ok())
    }

    pub(super) const fn unavailable(&self) -> Failure {
        Failure::Unavailable {
            status: self.status,
            retry_after: self.retry_after,
        }
    }

    pub(super) const fn rate_limited(&self) -> Failure {
        Failure::RateLimited {
            retry_after: self.retry_after,
        }
    }

    pub(super) const fn unauthorized(&self) -> Failure {
        Failure::Unauthorized { status: self.status }
    }

    pub(super) const fn refused(&self) -> Failure {
        Failure::Refused { status: self.status }
    }

    #[cfg(test)]
    pub(super) const fn with(status: u16, error: Value) -> Self {
        Self {
            status: Some(status),
            retry_after: None,
            error,
        }
    }
}

/// `Retry-After` in seconds. Its other form, a date, would need a clock, and no AI provider sends it.
fn seconds(value: &str) -> Option<Duration> {
    let seconds = value.trim().parse::<f64>().ok()?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .map(|wait| wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_bounded_and_nonsense_ignored() {
        assert_eq!(seconds("1.5"), Some(Duration::from_millis(1500)));
        assert_eq!(seconds("1e9"), Some(MAX_RETRY_AFTER));
        for value in ["-1", "soon", "NaN", "inf"] {
            assert_eq!(seconds(value), None, "{value}");
        }
    }
}
