//! The HTTP below every protocol: deadlines, and transport failures as [`Failure`]s.

use std::time::Duration;

use reqwest::{RequestBuilder, Response, header};
use tokio::time::Instant;

use super::event_body::EventBody;
use super::http_client::HttpClient;
use crate::ai::call::Call;
use crate::ai::error::{AiError, Failure, TimeoutPhase};
use crate::ai::timeouts::Timeouts;

const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// How the type of a web page begins.
const HTML: &[u8] = b"text/html";

/// Waits until a provider accepts a request, as long as for the first event of its answer. One that took too long may have been
/// accepted.
pub(crate) async fn wait_for_acceptance<T>(
    call: &Call,
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
        Err(_) => {
            // A connection has a shorter limit of its own.
            call.may_be_paid();
            Err(AiError::new(Failure::Timeout { phase, limit }, true))
        }
    }
}

/// Sends a request that costs nothing. Any status counts as success but 5xx, 401 and 403; so does 501, which
/// says, as 404 and 405 do, that a server is there that has no such list.
pub(crate) async fn probe(http: &HttpClient, request: RequestBuilder, timeouts: &Timeouts) -> Result<(), AiError> {
    let sent = async { http.send(request.timeout(PROBE_TIMEOUT).build()?).await };
    let failure = match sent.await {
        Ok(response) => match response.status().as_u16() {
            status @ (401 | 403) => Failure::Unauthorized { status: Some(status) },
            status if status >= 500 && status != 501 => Failure::Unavailable {
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

/// The body of an accepted request's response.
///
/// # Errors
/// [`Failure::Protocol`] when it is a web page, which a proxy may answer instead. Many servers label their answers wrongly, so its
/// first byte decides. It may have been paid for all the same.
pub(crate) async fn accepted_body(response: Response, call: &Call) -> Result<EventBody, Failure> {
    let content_type = response
        .headers()
        .get(header::CONTENT_TYPE)
        .map(|value| value.as_bytes());
    let may_be_page = content_type
        .and_then(|value| value.get(..HTML.len()))
        .is_some_and(|value| value.eq_ignore_ascii_case(HTML));
    let mut body = EventBody::new(response);
    if may_be_page && body.begins_like_a_page().await {
        call.may_be_paid();
        return Err(Failure::Protocol(
            "a web page instead of an answer; is the base URL right?",
        ));
    }
    call.accepted();
    Ok(body)
}
