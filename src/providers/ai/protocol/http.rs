//! The HTTP below every protocol: deadlines, and transport failures as [`Failure`]s.

use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use tokio::time::Instant;

use super::http_client::HttpClient;
use crate::ai::error::{AiError, Failure, TimeoutPhase};
use crate::ai::timeouts::Timeouts;

const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// Waits until a provider accepts a request, as long as for the first event of its answer.
pub(crate) async fn wait_for_acceptance<T>(
    started: Instant,
    timeouts: &Timeouts,
    request: impl Future<Output = Result<T, Failure>>,
) -> Result<T, AiError> {
    let (phase, limit) = if timeouts.first_byte < timeouts.total {
        (TimeoutPhase::FirstByte, timeouts.first_byte)
    } else {
        (TimeoutPhase::Total, timeouts.total)
    };
    match tokio::time::timeout_at(started + limit, request).await {
        Ok(accepted) => accepted.map_err(|failure| AiError::new(failure, true)),
        Err(_) => Err(AiError::new(Failure::Timeout { phase, limit }, true)),
    }
}

/// Sends a request that costs nothing. Any status counts as success but 5xx, 401 and 403.
pub(crate) async fn probe(http: &HttpClient, request: RequestBuilder, timeouts: &Timeouts) -> Result<(), AiError> {
    let sent = async { http.send(request.timeout(PROBE_TIMEOUT).build()?).await };
    let failure = match sent.await {
        Ok(response) => match response.status().as_u16() {
            status @ (401 | 403) => Failure::Unauthorized { status: Some(status) },
            status if status >= 500 => Failure::Unavailable {
                status: Some(status),
                retry_after: None,
            },
            _ => return Ok(()),
        },
        Err(error) if error.is_timeout() && !error.is_connect() => Failure::Timeout {
            phase: TimeoutPhase::FirstByte,
            limit: PROBE_TIMEOUT,
        },
        Err(error) => transport_failure(&error, timeouts),
    };
    Err(AiError::new(failure, true))
}

/// The failure of a request without a response.
pub(crate) fn transport_failure(error: &reqwest::Error, timeouts: &Timeouts) -> Failure {
    if error.is_connect() && error.is_timeout() {
        Failure::Timeout {
            phase: TimeoutPhase::Connect,
            limit: timeouts.connect,
        }
    } else {
        Failure::Unavailable {
            status: None,
            retry_after: None,
        }
    }
}

/// Rejects a web page, which a proxy may answer instead. Servers label event streams in many ways, but not as HTML.
pub(crate) fn reject_html(response: &Response) -> Result<(), Failure> {
    let content_type = response.headers().get(reqwest::header::CONTENT_TYPE);
    if content_type.is_some_and(|content_type| content_type.as_bytes().starts_with(b"text/html")) {
        return Err(Failure::Protocol(
            "a web page instead of an answer; is the base URL right?",
        ));
    }
    Ok(())
}
