//! Anthropic's messages, over plain HTTP, because no maintained official crate exists.

mod config;
mod error_response;
mod event;
mod request;

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

pub use self::config::AnthropicConfig;
use self::config::Settings;
use self::request::Request;
use crate::ai::call::Call;
use crate::ai::completion::CompletionStream;
use crate::ai::continuation::{Continuation, ContinuationMode};
use crate::ai::error::AiError;
use crate::ai::prompt::Prompt;
use crate::ai::protocol::answer_events::AnswerEvents;
use crate::ai::protocol::error_response::ErrorResponse;
use crate::ai::protocol::http;
use crate::ai::protocol::http_client::HttpClient;
use crate::ai::protocol::request_messages::request_messages;
use crate::ai::request_form::{ParametersOff, RequestForm};
use crate::ai::stream::completion_stream::completion_stream;

pub(crate) const PROVIDER: &str = "anthropic";

#[derive(Clone)]
pub(crate) struct Anthropic {
    http: HttpClient,
    settings: Arc<Settings>,
}

impl Anthropic {
    pub(crate) fn new(config: AnthropicConfig) -> Result<Self, AiError> {
        let settings = Settings::new(config)?;
        Ok(Self {
            http: HttpClient::new(settings.endpoint.base(), &settings.timeouts)?,
            settings: Arc::new(settings),
        })
    }

    pub(crate) fn model(&self) -> &str {
        &self.settings.model
    }

    pub(crate) fn continuation(&self) -> Continuation {
        self.settings.continuation
    }

    /// The form of a request for `prompt`, if the server refuses none of it.
    pub(crate) fn form(&self, prompt: &Prompt, continuation: Option<ContinuationMode>) -> RequestForm {
        RequestForm {
            off: ParametersOff::default(),
            max_output_tokens: Some(prompt.max_output_tokens.unwrap_or(self.settings.max_output_tokens)),
            continuation,
            ..RequestForm::default()
        }
    }

    /// Sends a request; resolves when the server has accepted it.
    pub(crate) async fn stream(
        &self,
        call: &Call,
        prompt: &Prompt,
        form: &RequestForm,
    ) -> Result<CompletionStream, AiError> {
        let started = Instant::now();
        let timeouts = self.settings.timeouts;
        let messages = request_messages(prompt, form);
        let request = self
            .http
            .builder()
            .post(self.settings.endpoint.url("/messages"))
            .headers(self.settings.headers.clone())
            .json(&Request::new(&self.settings, form, &messages));
        let body = http::wait_for_acceptance(call, started, &timeouts, async {
            let sent = async { self.http.send(request.build()?).await }.await;
            let response = sent.map_err(|error| http::transport_failure(&error, &timeouts))?;
            if !response.status().is_success() {
                return Err(error_response::classify(
                    &ErrorResponse::read(response).await?,
                    Some(prompt),
                ));
            }
            http::accepted_body(response, call).await
        })
        .await?;
        Ok(completion_stream(
            AnswerEvents::new(body, event::read).into_stream(),
            timeouts,
            started,
            call.clone(),
        ))
    }

    pub(crate) async fn probe(&self) -> Result<(), AiError> {
        let url = self.settings.endpoint.url("/models");
        let request = self.http.builder().get(url).headers(self.settings.headers.clone());
        http::probe(&self.http, request, &self.settings.timeouts).await
    }
}

impl fmt::Debug for Anthropic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Anthropic")
            .field("base", &self.settings.endpoint.base())
            .field("model", &self.settings.model)
            .finish()
    }
}
