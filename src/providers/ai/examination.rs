//! Holds a service to what Cura expects of it: small requests of our own, of which nothing is learned and nobody is counted.

use std::time::Duration;

use cura_domain::message::{FinishReason, Role, Usage};
use cura_domain::prompt::PromptMessage;
use futures_util::StreamExt;
use tokio::time::Instant;

use super::backend::Backend;
use super::call::{Call, RequestKey};
use super::completion::CompletionEvent;
use super::error::{AiError, Failure, TimeoutPhase};
use super::prompt::Prompt;

/// How long one request may take, from its beginning to its end.
const EXAMINATION_TIMEOUT: Duration = Duration::from_secs(20);
/// How much of an answer is read that is longer than was asked for, in UTF-8 bytes.
const MAX_READ_BYTES: usize = 4096;

/// What one request brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// In how many pieces the text came.
    pub pieces: usize,
    /// From the request to its first text.
    pub first_text_after: Duration,
    /// Why it ended, and what the service says that it cost; `None` where we hung up.
    pub end: Option<(FinishReason, Option<Usage>)>,
}

/// Asks and reads the answer, or hangs up at its first text.
pub(super) async fn examine(
    backend: &Backend,
    question: &str,
    most_tokens: u32,
    hangs_up: bool,
) -> Result<Examined, AiError> {
    let prompt = Prompt::of_text(vec![PromptMessage::plain(Role::User, question)], Some(most_tokens));
    let call = Call::without_words(RequestKey::Trial);
    let began = Instant::now();
    let reading = async {
        let mut events = backend.open(&call, &prompt).await?;
        let (mut pieces, mut bytes, mut first) = (0, 0, None);
        let end = loop {
            match events.next().await {
                Some(Ok(CompletionEvent::Text(text))) => {
                    pieces += 1;
                    bytes += text.len();
                    first.get_or_insert_with(|| began.elapsed());
                    if hangs_up || bytes > MAX_READ_BYTES {
                        break None;
                    }
                }
                Some(Ok(CompletionEvent::TakenBack)) => {}
                Some(Ok(CompletionEvent::Finished { .. })) if first.is_none() => {
                    return Err(AiError::new(Failure::EmptyAnswer, true));
                }
                Some(Ok(CompletionEvent::Finished { reason, usage, .. })) => break Some((reason, usage)),
                Some(Err(error)) => return Err(error),
                None => return Err(AiError::new(Failure::Protocol("an answer without an end"), true)),
            }
        };
        Ok(Examined {
            pieces,
            first_text_after: first.unwrap_or_else(|| began.elapsed()),
            end,
        })
    };
    within_time(reading).await
}

/// Sends a prompt as it is, in one request, and hangs up at the first event of its answer. Succeeds if there is one.
pub(super) async fn send_once(backend: &Backend, question: String, most_tokens: u32) -> Result<(), AiError> {
    let prompt = Prompt::of_text(vec![PromptMessage::plain(Role::User, question)], Some(most_tokens));
    let call = Call::without_words(RequestKey::Trial);
    within_time(async { backend.open_as_it_is(&call, &prompt).await.map(drop) }).await
}

async fn within_time<T>(request: impl Future<Output = Result<T, AiError>>) -> Result<T, AiError> {
    let (phase, limit) = (TimeoutPhase::Total, EXAMINATION_TIMEOUT);
    tokio::time::timeout(limit, request)
        .await
        .unwrap_or_else(|_| Err(AiError::new(Failure::Timeout { phase, limit }, true)))
}
