//! HTTP as push services are spoken to: bounded in time and size, straight to the service, and never twice.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Response, header};

/// How long one send may take, and opening a connection.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest pause that a service can ask for: a push that is older is given up.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// A client that follows no redirect and no proxy, and sends nothing again.
pub(super) fn client() -> ClientBuilder {
    Client::builder()
        .timeout(SEND_TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        // Neither credentials nor addresses may follow a redirect, or a proxy that happens to be in the environment.
        .redirect(Policy::none())
        .no_proxy()
        .no_gzip()
        // A push that is sent again is a second banner.
        .retry(reqwest::retry::never())
}

/// What went wrong before there was an answer, in one word. The error itself names the address and is not shown.
pub(super) fn no_answer(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() { "timed_out" } else { "unreachable" }
}

/// How long `Retry-After` asks to wait, in seconds or until a date (RFC 9110, section 10.2.3); an hour at most.
pub(super) fn retry_after(response: &Response, now: DateTime<Utc>) -> Option<Duration> {
    pause(response.headers().get(header::RETRY_AFTER)?.to_str().ok()?, now)
}

fn pause(asked: &str, now: DateTime<Utc>) -> Option<Duration> {
    let asked = asked.trim();
    let pause = match asked.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = httpdate::parse_http_date(asked).ok()?;
            until.duration_since(SystemTime::from(now)).unwrap_or_default()
        }
    };
    Some(pause.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_a_number_or_a_date_and_an_hour_at_most() {
        let now = DateTime::from_timestamp(784_111_777, 0).unwrap();
        for (asked, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120)),
            ("Sun, 06 Nov 1994 08:49:36 GMT", Some(0)),
            ("Sat, 06 Nov 2094 08:49:37 GMT", Some(3600)),
            ("86400", Some(3600)),
            ("18446744073709551615", Some(3600)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(pause(asked, now), seconds.map(Duration::from_secs), "{asked}");
        }
    }
}
