//! OpenAI's chat completions, and the many servers that speak its dialect more or less.
//!
//! Requests go through `async-openai` with an HTTP service of ours underneath (`http`): the crate's own retries,
//! string errors, unbounded queue and log lines with message text do not come into play.

mod chunk;
mod config;
mod events;
mod guard;
mod pieces;
mod refusal;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_openai::Client;
use async_openai::config::Config;
use async_openai::error::OpenAIError;
use tokio::time::Instant;

use super::{AiError, AnswerStream, Failure, Prompt, Waiting};
use chunk::{Chunk, Request};
pub use config::OpenAiConfig;
use config::Settings;
use guard::{Guard, GuardedHttp};

const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Clone)]
pub(super) struct OpenAi {
    http: reqwest::Client,
    settings: Arc<Settings>,
}

impl OpenAi {
    pub(super) fn new(config: OpenAiConfig) -> Result<Self, AiError> {
        let settings = Settings::new(config)?;
        let http = reqwest::Client::builder()
            .connect_timeout(settings.connect_timeout)
            // The key must not follow a redirect or a proxy that happens to be in the environment.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // Compression holds small events back, and inflates without a limit.
            .no_gzip()
            .retry(reqwest::retry::never())
            .tcp_nodelay(true)
            .build()
            .map_err(|_| AiError::new(Failure::Misconfigured("the HTTP client cannot be built"), true))?;
        Ok(Self {
            http,
            settings: Arc::new(settings),
        })
    }

    pub(super) fn provider(&self) -> &'static str {
        self.settings.provider_name
    }

    pub(super) fn model(&self) -> &str {
        &self.settings.model
    }

    pub(super) async fn stream(&self, prompt: Prompt) -> Result<AnswerStream, AiError> {
        let began = Instant::now();
        let guard = Arc::new(Guard::new());
        let client = Client::build(self.http.clone(), Arc::clone(&self.settings) as Arc<dyn Config>)
            .with_http_service(GuardedHttp::new(self.http.clone(), Arc::clone(&guard)));
        let request = Request::new(&self.settings, &prompt);
        let limit = self.settings.first_byte_timeout.min(self.settings.total_timeout);
        let chat = client.chat();
        let accepted = tokio::time::timeout_at(began + limit, chat.create_stream_byot::<_, Chunk>(request));
        let events = accepted
            .await
            .map_err(|_| {
                let waiting = if limit < self.settings.total_timeout {
                    Waiting::FirstByte
                } else {
                    Waiting::Total
                };
                AiError::new(Failure::Timeout { waiting, limit }, true)
            })?
            .map_err(|error| AiError::new(self.failure(error), true))?;
        Ok(pieces::answer(events, guard, &self.settings, began))
    }

    pub(super) async fn probe(&self) -> Result<(), AiError> {
        let url = format!("{}/models", self.settings.base);
        let mut request = self.http.get(url).timeout(PROBE_TIMEOUT);
        if let Some(authorization) = &self.settings.authorization {
            request = request.header(reqwest::header::AUTHORIZATION, authorization.clone());
        }
        let failure = match request.send().await.map(|response| response.status().as_u16()) {
            Ok(status @ (401 | 403)) => Failure::Unauthorized { status: Some(status) },
            Ok(status) if status >= 500 => Failure::Unavailable {
                status: Some(status),
                retry_after: None,
            },
            Ok(_) => return Ok(()),
            Err(error) if error.is_timeout() && !error.is_connect() => Failure::Timeout {
                waiting: Waiting::FirstByte,
                limit: PROBE_TIMEOUT,
            },
            Err(error) => self.transport(&error),
        };
        Err(AiError::new(failure, true))
    }

    fn failure(&self, error: OpenAIError) -> Failure {
        match error {
            OpenAIError::Boxed(inner) => match inner.downcast::<Failure>() {
                Ok(failure) => *failure,
                Err(_) => Failure::Protocol("an unknown failure of the HTTP layer"),
            },
            OpenAIError::Reqwest(error) => self.transport(&error),
            _ => Failure::Misconfigured("the request cannot be built"),
        }
    }

    fn transport(&self, error: &reqwest::Error) -> Failure {
        if error.is_connect() && error.is_timeout() {
            Failure::Timeout {
                waiting: Waiting::Connect,
                limit: self.settings.connect_timeout,
            }
        } else {
            Failure::Unavailable {
                status: None,
                retry_after: None,
            }
        }
    }
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAi")
            .field("base", &self.settings.base)
            .field("model", &self.settings.model)
            .finish()
    }
}
