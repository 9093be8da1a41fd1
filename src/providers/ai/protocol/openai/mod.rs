//! OpenAI's chat completions, and the many servers that speak its dialect more or less.
//!
//! Requests go through `async-openai` with an HTTP service of ours underneath (`http`): the crate's own retries,
//! string errors, unbounded queue and log lines with message text do not come into play.

mod chunk;
mod config;
mod error_response;
mod sse_filter;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use async_openai::Client;
use async_openai::config::Config;
use async_openai::error::OpenAIError;
use futures_util::stream::{self, Stream, StreamExt};
use tokio::time::Instant;

use crate::ai::call::Call;
use crate::ai::completion::CompletionStream;
use crate::ai::continuation::Continuation;
use crate::ai::continuation::ContinuationMode;
use crate::ai::error::{AiError, Failure};
use crate::ai::prompt::Prompt;
use crate::ai::protocol::error_response::Refusal;
use crate::ai::protocol::http;
use crate::ai::protocol::request_messages::request_messages;
use crate::ai::stream::completion_stream::{self, Signal, Signals};
use chunk::{Chunk, Request};
pub use config::OpenAiConfig;
use config::Settings;
use sse_filter::{Ending, Guard, GuardedHttp};

#[derive(Clone)]
pub(crate) struct OpenAi {
    http: reqwest::Client,
    settings: Arc<Settings>,
}

impl OpenAi {
    pub(crate) fn new(config: OpenAiConfig) -> Result<Self, AiError> {
        let settings = Settings::new(config)?;
        Ok(Self {
            http: http::client(&settings.timeouts)?,
            settings: Arc::new(settings),
        })
    }

    pub(crate) fn provider(&self) -> &'static str {
        self.settings.provider_name
    }

    pub(crate) fn model(&self) -> &str {
        &self.settings.model
    }

    pub(crate) fn continuation(&self) -> Continuation {
        self.settings.continuation
    }

    pub(crate) fn is_official(&self) -> bool {
        self.settings.is_official()
    }

    pub(crate) async fn stream(
        &self,
        call: &Call,
        prompt: &Prompt,
        continuation: Option<ContinuationMode>,
    ) -> Result<CompletionStream, AiError> {
        let began = Instant::now();
        let guard = Arc::new(Guard::new());
        let client = Client::build(self.http.clone(), Arc::clone(&self.settings) as Arc<dyn Config>)
            .with_http_service(GuardedHttp::new(self.http.clone(), Arc::clone(&guard)));
        let messages = request_messages(prompt, continuation);
        let request = Request::new(&self.settings, prompt, &messages);
        let chat = client.chat();
        let timeouts = self.settings.timeouts;
        let chunks = http::accepted(began, &timeouts, async {
            let accepted = chat.create_stream_byot::<_, Chunk>(request).await;
            accepted.map_err(|error| self.failure(error))
        })
        .await?;
        Ok(completion_stream::answer(
            signals(chunks, guard),
            timeouts,
            began,
            call.clone(),
        ))
    }

    pub(crate) async fn probe(&self) -> Result<(), AiError> {
        let mut request = self.http.get(self.settings.url("/models"));
        if let Some(authorization) = &self.settings.authorization {
            request = request.header(reqwest::header::AUTHORIZATION, authorization.clone());
        }
        http::probe(request, &self.settings.timeouts).await
    }

    fn failure(&self, error: OpenAIError) -> Failure {
        match error {
            OpenAIError::Boxed(inner) => match inner.downcast::<Failure>() {
                Ok(failure) => *failure,
                Err(_) => Failure::Protocol("an unknown failure of the HTTP layer"),
            },
            OpenAIError::Reqwest(error) => http::transport(&error, &self.settings.timeouts),
            _ => Failure::Misconfigured("the request cannot be built"),
        }
    }
}

type Chunks = Pin<Box<dyn Stream<Item = Result<Chunk, OpenAIError>> + Send>>;

/// What the chunks say, and how they end according to `guard`.
fn signals(chunks: Chunks, guard: Arc<Guard>) -> Signals {
    Box::pin(stream::unfold((chunks, guard), |(mut chunks, guard)| async move {
        let signal = match chunks.next().await {
            Some(Ok(mut chunk)) => {
                guard.taken();
                match chunk.error.take().filter(|error| !error.is_null()) {
                    Some(error) => Err(error_response::judge(&Refusal::within(error))),
                    None => Ok(chunk.into_signal()),
                }
            }
            Some(Err(_)) => Err(Failure::Protocol("an event that cannot be read")),
            None => match guard.ending() {
                Ending::Done => Ok(Signal {
                    done: true,
                    ..Signal::default()
                }),
                Ending::Failed(failure) => Err(failure),
                Ending::Cut => return None,
            },
        };
        Some((signal, (chunks, guard)))
    }))
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAi")
            .field("base", &self.settings.base)
            .field("model", &self.settings.model)
            .finish()
    }
}
