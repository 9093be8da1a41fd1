//! OpenAI's chat completions, and the compatible servers.
//!
//! Requests go through `async-openai` with an HTTP service of ours below it (`sse_filter`), which keeps the crate's own
//! retries, string errors, unbounded queue and log lines with message text from taking effect.

mod chunk;
mod config;
mod error_response;
mod lenient;
mod request;
mod sse_filter;

use std::fmt;
use std::sync::Arc;

use async_openai::Client;
use async_openai::config::Config;
use async_openai::error::OpenAIError;
use serde::de::IgnoredAny;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use self::config::OpenAiConfig;
use self::config::Settings;
use self::request::Request;
use self::sse_filter::{FilteredHttp, NotAccepted};
use crate::ai::call::Call;
use crate::ai::completion::CompletionStream;
use crate::ai::continuation::{Continuation, ContinuationMode};
use crate::ai::error::{AiError, Failure};
use crate::ai::prompt::Prompt;
use crate::ai::protocol::http;
use crate::ai::protocol::http_client::HttpClient;
use crate::ai::protocol::request_messages::request_messages;
use crate::ai::request_form::{Parameter, RequestForm};
use crate::ai::stream::completion_stream::completion_stream;

#[derive(Clone)]
pub(crate) struct OpenAi {
    http: HttpClient,
    settings: Arc<Settings>,
}

impl OpenAi {
    pub(crate) fn new(config: OpenAiConfig) -> Result<Self, AiError> {
        let settings = Settings::new(config)?;
        Ok(Self {
            http: HttpClient::new(settings.endpoint.base(), &settings.timeouts)?,
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

    /// The form of a request for `prompt`, if the server refuses none of it, and the name of the longest answer.
    pub(crate) fn form(
        &self,
        prompt: &Prompt,
        continuation: Option<ContinuationMode>,
    ) -> (RequestForm, Option<Parameter>) {
        let form = RequestForm {
            off: self.settings.parameters_off,
            max_output_tokens: prompt.max_output_tokens.or(self.settings.max_output_tokens),
            continuation,
            ..RequestForm::default()
        };
        (form, Some(self.settings.output_limit()))
    }

    /// Sends a request; resolves when the server has accepted it.
    pub(crate) async fn stream(
        &self,
        call: &Call,
        prompt: &Prompt,
        form: &RequestForm,
    ) -> Result<CompletionStream, AiError> {
        let started = Instant::now();
        let (sender, mut accepted) = mpsc::channel(1);
        let client = Client::build(
            self.http.builder().clone(),
            Arc::clone(&self.settings) as Arc<dyn Config>,
        )
        .with_http_service(FilteredHttp::new(self.http.clone(), sender, call.clone()));
        let messages = request_messages(prompt, form);
        let request = Request::new(&self.settings, form, &messages);
        let chat = client.chat();
        let timeouts = self.settings.timeouts;
        let events = http::wait_for_acceptance(call, started, &timeouts, async {
            // The crate's stream is empty: it has ended already.
            let empty = chat.create_stream_byot::<_, IgnoredAny>(request).await;
            drop(empty.map_err(|error| self.failure(error, prompt))?);
            let answer = accepted.try_recv();
            answer.map_err(|_| Failure::Protocol("an unknown failure of the HTTP layer"))
        })
        .await?;
        Ok(completion_stream(events.into_stream(), timeouts, started, call.clone()))
    }

    pub(crate) async fn probe(&self) -> Result<(), AiError> {
        let request = self
            .http
            .builder()
            .get(self.settings.url("/models"))
            .headers(self.settings.headers());
        http::probe(&self.http, request, &self.settings.timeouts).await
    }

    fn failure(&self, error: OpenAIError, prompt: &Prompt) -> Failure {
        match error {
            OpenAIError::Boxed(inner) => match inner.downcast::<NotAccepted>() {
                Ok(not_accepted) => match *not_accepted {
                    NotAccepted::Error(error) => error.failure(Some(prompt)),
                    NotAccepted::Failure(failure) => failure,
                },
                Err(_) => Failure::Protocol("an unknown failure of the HTTP layer"),
            },
            OpenAIError::Reqwest(error) => http::transport_failure(&error, &self.settings.timeouts),
            _ => Failure::Misconfigured("the request cannot be built"),
        }
    }
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAi")
            .field("base", &self.settings.endpoint.base())
            .field("model", &self.settings.model)
            .finish()
    }
}
