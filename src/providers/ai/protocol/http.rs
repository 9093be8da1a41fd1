//! The HTTP below every dialect: one kind of client, bounded waits, and failures in our words.

use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt};
use reqwest::{Client, RequestBuilder, Response};
use tokio::time::Instant;

use super::endpoint::misconfigured;
use crate::ai::error::{AiError, Failure, TimeoutPhase};
use crate::ai::stream::sse_decoder::{Events, TooLong};
use crate::ai::timeouts::Timeouts;

const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// A client that does only what it is told.
pub(crate) fn client(timeouts: &Timeouts) -> Result<Client, AiError> {
    Client::builder()
        .connect_timeout(timeouts.connect)
        // The key must not follow a redirect or a proxy that happens to be in the environment.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        // Compression holds small events back, and inflates without a limit.
        .no_gzip()
        .retry(reqwest::retry::never())
        .tcp_nodelay(true)
        .build()
        .map_err(|_| misconfigured("the HTTP client cannot be built"))
}

/// Waits for a provider to accept a request, as long as for the first event of its answer.
pub(crate) async fn accepted<T>(
    began: Instant,
    timeouts: &Timeouts,
    accepting: impl Future<Output = Result<T, Failure>>,
) -> Result<T, AiError> {
    let (phase, limit) = if timeouts.first_byte < timeouts.total {
        (TimeoutPhase::FirstByte, timeouts.first_byte)
    } else {
        (TimeoutPhase::Total, timeouts.total)
    };
    match tokio::time::timeout_at(began + limit, accepting).await {
        Ok(accepted) => accepted.map_err(|failure| AiError::new(failure, true)),
        Err(_) => Err(AiError::new(Failure::Timeout { phase, limit }, true)),
    }
}

/// Whether a request that costs nothing is answered: anything counts but 5xx, 401 and 403.
pub(crate) async fn probe(request: RequestBuilder, timeouts: &Timeouts) -> Result<(), AiError> {
    let failure = match request.timeout(PROBE_TIMEOUT).send().await {
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
        Err(error) => transport(&error, timeouts),
    };
    Err(AiError::new(failure, true))
}

/// What a request that got no response means.
pub(crate) fn transport(error: &reqwest::Error, timeouts: &Timeouts) -> Failure {
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

/// Refuses what somebody, most often a proxy, answers for people to read. Servers name events in many ways, but not so.
pub(crate) fn not_a_page(response: &Response) -> Result<(), Failure> {
    let content_type = response.headers().get(reqwest::header::CONTENT_TYPE);
    if content_type.is_some_and(|content_type| content_type.as_bytes().starts_with(b"text/html")) {
        return Err(Failure::Protocol(
            "a web page instead of an answer; is the base URL right?",
        ));
    }
    Ok(())
}

/// A body that is read event by event, no faster than events are taken.
pub(crate) struct Body {
    bytes: BoxStream<'static, reqwest::Result<Vec<u8>>>,
    events: Events,
    unread: Vec<u8>,
    used: usize,
}

impl Body {
    pub(crate) fn new(response: Response) -> Self {
        Self {
            bytes: response.bytes_stream().map(|bytes| bytes.map(Vec::from)).boxed(),
            events: Events::default(),
            unread: Vec::new(),
            used: 0,
        }
    }

    /// The data of the next event; `None` when the body has ended, whether it was closed or broken.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            let unread = self.unread.get(self.used..).unwrap_or_default();
            let (used, event) = self
                .events
                .read(unread)
                .map_err(|TooLong| Failure::Protocol("an event longer than our limit"))?;
            self.used += used;
            if let Some(event) = event {
                return text(event).map(Some);
            }
            match self.bytes.next().await {
                Some(Ok(bytes)) => (self.unread, self.used) = (bytes, 0),
                Some(Err(_)) => return Ok(None),
                None => return self.events.rest().map(text).transpose(),
            }
        }
    }
}

fn text(event: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(event).map_err(|_| Failure::Protocol("an event that is not UTF-8"))
}
