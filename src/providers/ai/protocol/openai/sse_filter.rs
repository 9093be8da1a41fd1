//! The HTTP layer below `async-openai`: lets through only events that it will read without complaint.
//!
//! The crate reads ahead into an unbounded queue, logs bodies it cannot read, and turns errors into strings. So:
//! refusals are judged here, events are bounded, checked and counted here, and how the body ended is noted here.

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
use crate::ai::protocol::error_response::Refusal;
use crate::ai::protocol::http::{self, Body};

/// Events that may be on their way to a reader that does not take them; then the provider has to wait.
const READ_AHEAD: usize = 64;

/// How a body ended.
#[derive(Debug, Clone)]
pub(crate) enum Ending {
    /// With `[DONE]`.
    Done,
    /// Without it, whether closed or broken.
    Cut,
    /// With something that is not the dialect.
    Failed(Failure),
}

/// What the HTTP layer and the reader of one answer share.
pub(crate) struct Guard {
    credits: Semaphore,
    ending: OnceLock<Ending>,
}

impl Guard {
    pub(crate) fn new() -> Self {
        Self {
            credits: Semaphore::new(READ_AHEAD),
            ending: OnceLock::new(),
        }
    }

    /// The reader took an event: one more may come.
    pub(crate) fn taken(&self) {
        self.credits.add_permits(1);
    }

    /// How the body ended; known once the events have.
    pub(crate) fn ending(&self) -> Ending {
        self.ending.get().cloned().unwrap_or(Ending::Cut)
    }

    fn end(&self, ending: Ending) {
        // The first reason is the true one.
        let _ = self.ending.set(ending);
    }
}

#[derive(Clone)]
pub(crate) struct GuardedHttp {
    http: reqwest::Client,
    guard: Arc<Guard>,
}

impl GuardedHttp {
    pub(crate) fn new(http: reqwest::Client, guard: Arc<Guard>) -> Self {
        Self { http, guard }
    }
}

impl tower::Service<HttpRequestFactory> for GuardedHttp {
    type Response = reqwest::Response;
    type Error = OpenAIError;
    type Future = BoxFuture<'static, Result<reqwest::Response, OpenAIError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OpenAIError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, factory: HttpRequestFactory) -> Self::Future {
        let Self { http, guard } = self.clone();
        Box::pin(async move {
            let response = http.execute(factory.build().await?).await?;
            if !response.status().is_success() {
                let refusal = Refusal::read(response).await;
                let failure = refusal.map_or_else(|failure| failure, |refusal| error_response::judge(&refusal));
                return Err(boxed(failure));
            }
            http::not_a_page(&response).map_err(boxed)?;
            let events = checked(Body::new(response), guard);
            Ok(::http::Response::new(reqwest::Body::wrap_stream(events)).into())
        })
    }
}

fn boxed(failure: Failure) -> OpenAIError {
    OpenAIError::Boxed(Box::new(failure))
}

/// The events of `body`, written anew, one at a time, as the reader has room for them.
fn checked(body: Body, guard: Arc<Guard>) -> impl Stream<Item = Result<String, Infallible>> + Send + 'static {
    stream::unfold((body, guard), |(mut body, guard)| async move {
        match next(&mut body).await {
            Ok(event) => {
                guard.credits.acquire().await.ok()?.forget();
                // A JSON text may span lines; each needs its own field.
                Some((
                    Ok(format!("data: {}\n\n", event.replace('\n', "\ndata: "))),
                    (body, guard),
                ))
            }
            Err(ending) => {
                guard.end(ending);
                None
            }
        }
    })
}

/// The next event that is a chunk of the dialect.
async fn next(body: &mut Body) -> Result<String, Ending> {
    let event = body.next().await.map_err(Ending::Failed)?.ok_or(Ending::Cut)?;
    if event.trim() == "[DONE]" {
        return Err(Ending::Done);
    }
    // Read here exactly as `async-openai` will: what it cannot read, it logs.
    match serde_json::from_str::<Chunk>(&event) {
        Ok(_) => Ok(event),
        Err(_) => Err(Ending::Failed(Failure::Protocol(
            "an event that is not a chunk of an answer",
        ))),
    }
}
