//! The HTTP layer below `async-openai`: gives the body of an answer to its reader, and shows the crate an empty one.
//!
//! The crate reads ahead into an unbounded queue, logs bodies that it cannot decode, and turns errors into strings.
//! Therefore this layer classifies error responses, and the reader of the answer reads its events itself.

use std::task::{Context, Poll};

use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::chunk;
use crate::ai::call::Call;
use crate::ai::error::Failure;
use crate::ai::protocol::answer_events::AnswerEvents;
use crate::ai::protocol::error_response::ErrorResponse;
use crate::ai::protocol::http;
use crate::ai::protocol::http_client::HttpClient;

#[derive(Clone)]
pub(super) struct FilteredHttp {
    http: HttpClient,
    /// Where the answer goes.
    answer: mpsc::Sender<AnswerEvents>,
    call: Call,
}

impl FilteredHttp {
    /// Has room for one answer in `answer`.
    pub(super) const fn new(http: HttpClient, answer: mpsc::Sender<AnswerEvents>, call: Call) -> Self {
        Self { http, answer, call }
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
        let Self { http, answer, call } = self.clone();
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
            // Dropped, which closes the connection, if nobody waits for it any more.
            let _ = answer.try_send(AnswerEvents::new(body, chunk::read));
            Ok(::http::Response::new(reqwest::Body::default()).into())
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
