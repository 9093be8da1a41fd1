//! The HTTP layer below `async-openai`: reads the events of an answer itself, and shows the crate an empty body.
//!
//! The crate reads ahead into an unbounded queue, logs bodies that it cannot decode, and turns errors into strings.
//! Therefore this layer classifies error responses, and reads events no faster than the reader of the answer takes them.

use std::convert::Infallible;
use std::task::{Context, Poll};

use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, Stream};
use tokio::sync::mpsc;

use super::chunk;
use crate::ai::call::Call;
use crate::ai::error::Failure;
use crate::ai::protocol::answer_events::AnswerEvents;
use crate::ai::protocol::error_response::ErrorResponse;
use crate::ai::protocol::http;
use crate::ai::protocol::http_client::HttpClient;
use crate::ai::stream::completion_stream::ProtocolEvent;

/// Events that are read ahead of the reader; then the provider has to wait.
pub(super) const READ_AHEAD: usize = 64;

/// Where the events of one answer go.
pub(super) type EventSender = mpsc::Sender<Result<ProtocolEvent, Failure>>;

#[derive(Clone)]
pub(super) struct FilteredHttp {
    http: HttpClient,
    events: EventSender,
    call: Call,
}

impl FilteredHttp {
    pub(super) fn new(http: HttpClient, events: EventSender, call: Call) -> Self {
        Self { http, events, call }
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
        let Self { http, events, call } = self.clone();
        Box::pin(async move {
            let response = http.send(factory.build().await?).await?;
            if !response.status().is_success() {
                return Err(boxed(match ErrorResponse::read(response).await {
                    Ok(error) => NotAccepted::Error(error),
                    Err(failure) => NotAccepted::Failure(failure),
                }));
            }
            let body = http::accepted_body(response, &call).await;
            let body = body.map_err(|failure| boxed(NotAccepted::Failure(failure)))?;
            let answer = AnswerEvents::new(body, chunk::read);
            Ok(::http::Response::new(reqwest::Body::wrap_stream(forwarded(answer, events))).into())
        })
    }
}

/// Why a request was not accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotAccepted {
    /// The server sent this, which only the prompt helps to classify.
    #[error("an error instead of an answer")]
    Error(ErrorResponse),
    /// Anything else.
    #[error(transparent)]
    Failure(Failure),
}

fn boxed(not_accepted: NotAccepted) -> OpenAIError {
    OpenAIError::Boxed(Box::new(not_accepted))
}

/// A body without a byte, which ends when the events of `answer` have gone to `events`, or nobody takes them any more.
fn forwarded(
    answer: AnswerEvents,
    events: EventSender,
) -> impl Stream<Item = Result<&'static [u8], Infallible>> + Send + 'static {
    stream::unfold((answer, events), |(mut answer, events)| async move {
        loop {
            let event = tokio::select! {
                biased;
                () = events.closed() => return None,
                event = answer.next() => event?,
            };
            events.send(event).await.ok()?;
        }
    })
}
