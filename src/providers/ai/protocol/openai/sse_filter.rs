//! The HTTP layer below `async-openai`: passes on only events that the crate can decode.
//!
//! The crate reads ahead into an unbounded queue, logs bodies that it cannot decode, and turns errors into strings.
//! Therefore this layer classifies error responses, checks and bounds events, limits how many are read ahead, and records
//! how the body ended.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, Stream};
use tokio::sync::Semaphore;

use super::chunk::Chunk;
use super::error_response;
use crate::ai::error::Failure;
use crate::ai::protocol::error_response::ErrorResponse;
use crate::ai::protocol::http::{self, EventBody};

/// Events that are read ahead of the reader; then the provider has to wait.
const READ_AHEAD: usize = 64;

/// How a body ended.
#[derive(Debug, Clone)]
pub(super) enum BodyEnd {
    /// With `[DONE]`.
    Done,
    /// Without it: the connection was closed or broke.
    Interrupted,
    /// With an event that violates the protocol or a limit.
    Failed(Failure),
}

/// What the HTTP layer and the reader of one answer share: how many events may be read ahead, and how the body ended.
pub(super) struct FlowControl {
    credits: Semaphore,
    body_end: OnceLock<BodyEnd>,
}

impl FlowControl {
    pub(super) fn new() -> Self {
        Self {
            credits: Semaphore::new(READ_AHEAD),
            body_end: OnceLock::new(),
        }
    }

    /// The reader has taken an event, so one more may be read.
    pub(super) fn event_taken(&self) {
        self.credits.add_permits(1);
    }

    /// How the body ended; known once the events have ended.
    pub(super) fn body_end(&self) -> BodyEnd {
        self.body_end.get().cloned().unwrap_or(BodyEnd::Interrupted)
    }

    fn set_body_end(&self, end: BodyEnd) {
        // Only the first end is the cause.
        let _ = self.body_end.set(end);
    }
}

#[derive(Clone)]
pub(super) struct FilteredHttp {
    http: reqwest::Client,
    flow: Arc<FlowControl>,
}

impl FilteredHttp {
    pub(super) fn new(http: reqwest::Client, flow: Arc<FlowControl>) -> Self {
        Self { http, flow }
    }
}

impl tower::Service<HttpRequestFactory> for FilteredHttp {
    type Response = reqwest::Response;
    type Error = OpenAIError;
    type Future = BoxFuture<'static, Result<reqwest::Response, OpenAIError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OpenAIError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, factory: HttpRequestFactory) -> Self::Future {
        let Self { http, flow } = self.clone();
        Box::pin(async move {
            let response = http.execute(factory.build().await?).await?;
            if !response.status().is_success() {
                let failure = match ErrorResponse::read(response).await {
                    Ok(error) => error_response::classify(&error),
                    Err(failure) => failure,
                };
                return Err(boxed(failure));
            }
            http::reject_html(&response).map_err(boxed)?;
            let events = filtered(EventBody::new(response), flow);
            Ok(::http::Response::new(reqwest::Body::wrap_stream(events)).into())
        })
    }
}

fn boxed(failure: Failure) -> OpenAIError {
    OpenAIError::Boxed(Box::new(failure))
}

/// The events of `body` that can be decoded, encoded again, no faster than the reader takes them.
fn filtered(
    body: EventBody,
    flow: Arc<FlowControl>,
) -> impl Stream<Item = Result<String, Infallible>> + Send + 'static {
    stream::unfold((body, flow), |(mut body, flow)| async move {
        match next(&mut body).await {
            Ok(event) => {
                flow.credits.acquire().await.ok()?.forget();
                // A JSON text may span lines; each needs its own field.
                let encoded = format!("data: {}\n\n", event.replace('\n', "\ndata: "));
                Some((Ok(encoded), (body, flow)))
            }
            Err(end) => {
                flow.set_body_end(end);
                None
            }
        }
    })
}

/// The next event that is a chunk.
async fn next(body: &mut EventBody) -> Result<String, BodyEnd> {
    let event = body
        .next()
        .await
        .map_err(BodyEnd::Failed)?
        .ok_or(BodyEnd::Interrupted)?;
    if event.trim() == "[DONE]" {
        return Err(BodyEnd::Done);
    }
    // Decoded exactly as `async-openai` will, because the crate logs what it cannot decode.
    match serde_json::from_str::<Chunk>(&event) {
        Ok(_) => Ok(event),
        Err(_) => Err(BodyEnd::Failed(Failure::Protocol(
            "an event that is not a chunk of an answer",
        ))),
    }
}
