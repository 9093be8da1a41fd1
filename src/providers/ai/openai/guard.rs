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
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use tokio::sync::Semaphore;

use super::super::Failure;
use super::chunk::Chunk;
use super::events::{Events, TooLong};
use super::refusal;

/// Events that may be on their way to a reader that does not take them; then the provider has to wait.
const READ_AHEAD: usize = 64;

/// How a body ended.
#[derive(Debug, Clone)]
pub(super) enum Ending {
    /// With `[DONE]`.
    Done,
    /// Without it, whether closed or broken.
    Cut,
    /// With something that is not the dialect.
    Failed(Failure),
}

/// What the HTTP layer and the reader of one answer share.
pub(super) struct Guard {
    credits: Semaphore,
    ending: OnceLock<Ending>,
}

impl Guard {
    pub(super) fn new() -> Self {
        Self {
            credits: Semaphore::new(READ_AHEAD),
            ending: OnceLock::new(),
        }
    }

    /// The reader took an event: one more may come.
    pub(super) fn taken(&self) {
        self.credits.add_permits(1);
    }

    /// How the body ended; known once the events have.
    pub(super) fn ending(&self) -> Ending {
        self.ending.get().cloned().unwrap_or(Ending::Cut)
    }

    fn end(&self, ending: Ending) {
        // The first reason is the true one.
        let _ = self.ending.set(ending);
    }
}

#[derive(Clone)]
pub(super) struct GuardedHttp {
    http: reqwest::Client,
    guard: Arc<Guard>,
}

impl GuardedHttp {
    pub(super) fn new(http: reqwest::Client, guard: Arc<Guard>) -> Self {
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
                return Err(OpenAIError::Boxed(Box::new(refusal::read(response).await)));
            }
            if is_page(&response) {
                let page = Failure::Protocol("a web page instead of an answer; is AI_MODEL_URL right?");
                return Err(OpenAIError::Boxed(Box::new(page)));
            }
            let events = checked(response.bytes_stream().map(|bytes| bytes.map(Vec::from)).boxed(), guard);
            Ok(http::Response::new(reqwest::Body::wrap_stream(events)).into())
        })
    }
}

/// Whether somebody, most often a proxy, answers with a page for people. Servers name events in many ways, but not so.
fn is_page(response: &reqwest::Response) -> bool {
    let content_type = response.headers().get(reqwest::header::CONTENT_TYPE);
    content_type.is_some_and(|content_type| content_type.as_bytes().starts_with(b"text/html"))
}

/// A body that is being read.
struct Reading {
    body: BoxStream<'static, reqwest::Result<Vec<u8>>>,
    events: Events,
    unread: Vec<u8>,
    used: usize,
    guard: Arc<Guard>,
}

/// The events of `body`, written anew, one at a time, as the reader has room for them.
fn checked(
    body: BoxStream<'static, reqwest::Result<Vec<u8>>>,
    guard: Arc<Guard>,
) -> impl Stream<Item = Result<String, Infallible>> + Send + 'static {
    let reading = Reading {
        body,
        events: Events::default(),
        unread: Vec::new(),
        used: 0,
        guard,
    };
    stream::unfold(reading, |mut reading| async move {
        match reading.next().await {
            Ok(event) => {
                reading.guard.credits.acquire().await.ok()?.forget();
                // A JSON text may span lines; each needs its own field.
                Some((Ok(format!("data: {}\n\n", event.replace('\n', "\ndata: "))), reading))
            }
            Err(ending) => {
                reading.guard.end(ending);
                None
            }
        }
    })
}

impl Reading {
    /// The next event that is a chunk of the dialect.
    async fn next(&mut self) -> Result<String, Ending> {
        loop {
            let unread = self.unread.get(self.used..).unwrap_or_default();
            let (used, event) = self
                .events
                .read(unread)
                .map_err(|TooLong| Ending::Failed(Failure::Protocol("an event longer than our limit")))?;
            self.used += used;
            if let Some(event) = event {
                return judge(event);
            }
            match self.body.next().await {
                Some(Ok(bytes)) => (self.unread, self.used) = (bytes, 0),
                Some(Err(_)) => return Err(Ending::Cut),
                None => return self.events.rest().map_or(Err(Ending::Cut), judge),
            }
        }
    }
}

fn judge(event: Vec<u8>) -> Result<String, Ending> {
    let event =
        String::from_utf8(event).map_err(|_| Ending::Failed(Failure::Protocol("an event that is not UTF-8")))?;
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
