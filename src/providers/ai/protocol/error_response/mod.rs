//! Errors that providers send instead of an answer or within one: read in whatever shape they come, and classified.
//!
//! Both protocols share this, because gateways and local servers mix their types, codes and words. A text may quote a person,
//! so what it says of everybody counts only beside a quotation (`quoted_words`).

mod account;
mod classification;
mod moderation;
mod refused_files;
mod refused_part;
mod stated;
mod too_long;
mod words;

use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use serde_json::Value;

use self::stated::Stated;
use crate::ai::error::Failure;

/// How much of an error's body is read.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// A provider that states a longer wait is treated as if it stated this one.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// An error as the provider sent it. Its text is only used to classify it, and never shown: it may quote the prompt.
#[derive(Debug)]
pub(crate) struct ErrorResponse {
    /// The HTTP status; `None` when the error was an event of an answer.
    status: Option<u16>,
    /// The wait that `Retry-After` states.
    retry_after: Option<Duration>,
    stated: Stated,
}

impl ErrorResponse {
    /// Reads a response that is not 2xx: a bounded part of its body. The caller's deadline bounds the time.
    ///
    /// # Errors
    /// [`Failure::Misconfigured`] for a redirect, which is never followed: the key must not go elsewhere.
    pub(crate) async fn read(response: reqwest::Response) -> Result<Self, Failure> {
        let status = response.status().as_u16();
        if (300..400).contains(&status) {
            return Err(Failure::Misconfigured("the provider redirects; set its final address"));
        }
        let retry_after = stated_wait(response.headers(), SystemTime::now());
        let mut body = Vec::new();
        let mut parts = response.bytes_stream();
        while let Some(Ok(part)) = parts.next().await {
            let room = MAX_BODY_BYTES - body.len();
            body.extend_from_slice(part.get(..room).unwrap_or(&part));
            if body.len() == MAX_BODY_BYTES {
                break;
            }
        }
        let stated = Stated::in_body(&body);
        Ok(Self {
            status: Some(status),
            retry_after: retry_after.or(stated.wait.map(|wait| wait.min(MAX_RETRY_AFTER))),
            stated,
        })
    }

    /// An error that was an event of an answer, or what such an event holds.
    #[expect(clippy::needless_pass_by_value, reason = "an event ends with its error")]
    pub(crate) fn in_stream(error: Value) -> Self {
        let stated = Stated::in_value(&error);
        Self {
            status: None,
            retry_after: stated.wait.map(|wait| wait.min(MAX_RETRY_AFTER)),
            stated,
        }
    }

    const fn unavailable(&self) -> Failure {
        Failure::Unavailable {
            status: self.status,
            retry_after: self.retry_after,
        }
    }

    const fn rate_limited(&self) -> Failure {
        Failure::RateLimited {
            retry_after: self.retry_after,
        }
    }

    const fn unauthorized(&self) -> Failure {
        Failure::Unauthorized { status: self.status }
    }

    /// The status, which some servers (llama.cpp, vLLM, OpenRouter) state as `code` within an answer.
    fn status(&self) -> Option<u16> {
        self.status.or(self.stated.status)
    }

    fn refused(&self) -> Failure {
        Failure::Refused { status: self.status() }
    }

    #[cfg(test)]
    pub(crate) fn with(status: u16, body: &str) -> Self {
        let stated = Stated::in_body(body.as_bytes());
        Self {
            status: Some(status),
            retry_after: stated.wait,
            stated,
        }
    }
}

/// The wait that `Retry-After` states: seconds, or until a date by the clock of the `Date` header if there is one. A date in
/// the past is no wait.
fn stated_wait(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let date = |text| httpdate::parse_http_date(text).ok();
    let stated = text(RETRY_AFTER)?;
    let wait = match stated.parse() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
        Err(_) => {
            let now = text(DATE).and_then(date).unwrap_or(now);
            date(stated)?.duration_since(now).unwrap_or_default()
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const NOW: Duration = Duration::from_secs(784_111_777);

    fn waits(stated: &str, date: Option<&str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, stated.parse().unwrap());
        if let Some(date) = date {
            headers.insert(DATE, date.parse().unwrap());
        }
        stated_wait(&headers, SystemTime::UNIX_EPOCH + NOW)
    }

    #[test]
    fn a_wait_is_bounded_and_an_invalid_one_ignored() {
        assert_eq!(waits("1.5", None), Some(Duration::from_millis(1500)));
        assert_eq!(waits("1e9", None), Some(MAX_RETRY_AFTER));
        for value in ["-1", "soon", "NaN", "inf", "Sun, 06 Nov 1994 26:00:00 GMT"] {
            assert_eq!(waits(value, None), None, "{value}");
        }
        assert_eq!(stated_wait(&HeaderMap::new(), SystemTime::UNIX_EPOCH), None);
    }

    #[test]
    fn a_date_is_compared_with_the_servers_clock_if_it_states_one() {
        let stated = "Sun, 06 Nov 1994 08:50:07 GMT";
        assert_eq!(waits(stated, None), Some(Duration::from_secs(30)));
        let its_clock_is_slow = Some("Sun, 06 Nov 1994 08:40:00 GMT");
        assert_eq!(waits(stated, its_clock_is_slow), Some(Duration::from_secs(607)));
        assert_eq!(waits(stated, Some("nonsense")), Some(Duration::from_secs(30)));
        assert_eq!(waits("Sun, 06 Nov 1994 08:00:00 GMT", None), Some(Duration::ZERO));
        assert_eq!(waits("Mon, 07 Nov 1994 08:00:00 GMT", None), Some(MAX_RETRY_AFTER));
    }
}
