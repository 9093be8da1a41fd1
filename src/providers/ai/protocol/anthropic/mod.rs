//! Anthropic's messages, spoken over plain HTTP: no official crate exists that somebody keeps.

mod config;
mod error_response;
mod event;
mod request;

use std::fmt;
use std::sync::Arc;

use futures_util::stream;
use tokio::time::Instant;

use crate::ai::call::Call;
use crate::ai::completion::CompletionStream;
use crate::ai::continuation::Continuation;
use crate::ai::continuation::ContinuationMode;
use crate::ai::error::{AiError, Failure};
use crate::ai::prompt::Prompt;
use crate::ai::protocol::error_response::Refusal;
use crate::ai::protocol::http::{self, Body};
use crate::ai::protocol::request_messages::request_messages;
use crate::ai::stream::completion_stream::{self, Signals};
pub use config::AnthropicConfig;
use config::Settings;
use request::Request;

pub(crate) const PROVIDER: &str = "anthropic";

#[derive(Clone)]
pub(crate) struct Anthropic {
    http: reqwest::Client,
    settings: Arc<Settings>,
}

impl Anthropic {
    pub(crate) fn new(config: AnthropicConfig) -> Result<Self, AiError> {
        let settings = Settings::new(config)?;
        Ok(Self {
            http: http::client(&settings.timeouts)?,
            settings: Arc::new(settings),
        })
    }

    pub(crate) fn model(&self) -> &str {
        &self.settings.model
    }

    pub(crate) fn continuation(&self) -> Continuation {
        self.settings.continuation
    }

    pub(crate) async fn stream(
        &self,
        call: &Call,
        prompt: &Prompt,
        continuation: Option<ContinuationMode>,
    ) -> Result<CompletionStream, AiError> {
        let began = Instant::now();
        let timeouts = self.settings.timeouts;
        let messages = request_messages(prompt, continuation);
        let request = self
            .http
            .post(format!("{}/messages", self.settings.base))
            .headers(self.settings.headers.clone())
            .json(&Request::new(&self.settings, prompt, &messages));
        let body = http::accepted(began, &timeouts, async {
            let sent = request.send().await;
            let response = sent.map_err(|error| http::transport(&error, &timeouts))?;
            if !response.status().is_success() {
                return Err(error_response::judge(&Refusal::read(response).await?));
            }
            http::not_a_page(&response)?;
            Ok(Body::new(response))
        })
        .await?;
        Ok(completion_stream::answer(signals(body), timeouts, began, call.clone()))
    }

    pub(crate) async fn probe(&self) -> Result<(), AiError> {
        let url = format!("{}/models", self.settings.base);
        let request = self.http.get(url).headers(self.settings.headers.clone());
        http::probe(request, &self.settings.timeouts).await
    }
}

/// What the events of `body` say; read one at a time, as they are wanted.
fn signals(body: Body) -> Signals {
    Box::pin(stream::unfold(body, |mut body| async move {
        loop {
            let signal = match body.next().await {
                Ok(Some(event)) => event::read(&event),
                Ok(None) => return None,
                Err(failure) => Err::<_, Failure>(failure),
            };
            // An event that says nothing is no progress: whoever waits goes on waiting.
            if let Some(signal) = signal.transpose() {
                return Some((signal, body));
            }
        }
    }))
}

impl fmt::Debug for Anthropic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Anthropic")
            .field("base", &self.settings.base)
            .field("model", &self.settings.model)
            .finish()
    }
}
