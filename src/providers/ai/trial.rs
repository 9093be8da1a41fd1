//! A trial: a small request of our own, which shows whether a provider works when persons' requests have failed. It is nobody's
//! answer, and is counted for nobody.

use std::time::Duration;

use cura_domain::message::Role;
use cura_domain::prompt::PromptMessage;
use futures_util::StreamExt;

use super::backend::Backend;
use super::call::{Call, RequestKey};
use super::completion::{CompletionEvent, CompletionStream};
use super::error::{AiError, Failure, TimeoutPhase};
use super::prompt::Prompt;

/// How long a provider may take for its answer, unless it is given less for every answer: a local model may load first.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may go on once it has begun to write: a slow one works, too.
const TRIAL_END_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer wanted.
const MAX_OUTPUT_TOKENS: u32 = 16;
/// How much of one that is longer all the same is read, in UTF-8 bytes.
const MAX_READ_BYTES: usize = 1000;
/// What is asked.
const QUESTION: &str = "Are you there? Answer with yes.";

/// Sends a trial and reads the answer to its end: some providers begin one before they look whether it is paid for.
///
/// # Errors
/// The failure, which is everybody's: none of a person's words were sent.
pub(super) async fn send_trial(backend: &Backend) -> Result<(), AiError> {
    let question = PromptMessage::plain(Role::User, QUESTION);
    let prompt = Prompt::of_text(vec![question], Some(MAX_OUTPUT_TOKENS));
    let call = Call::without_words(RequestKey::Trial);
    let begun = async {
        let mut events = backend.open(&call, &prompt).await?;
        let first = next(&mut events).await?;
        Ok((first, events))
    };
    let (mut event, mut events) = tokio::time::timeout(TRIAL_TIMEOUT, begun).await.unwrap_or_else(|_| {
        let (phase, limit) = (TimeoutPhase::FirstByte, TRIAL_TIMEOUT);
        Err(AiError::new(Failure::Timeout { phase, limit }, true))
    })?;
    let rest = async {
        let mut bytes = 0;
        loop {
            match &event {
                CompletionEvent::Text(text) => bytes += text.len(),
                CompletionEvent::TakenBack => {}
                CompletionEvent::Finished { .. } => break,
            }
            if bytes > MAX_READ_BYTES {
                break;
            }
            event = next(&mut events).await?;
        }
        Ok(())
    };
    tokio::time::timeout(TRIAL_END_TIMEOUT, rest).await.unwrap_or(Ok(()))
}

async fn next(events: &mut CompletionStream) -> Result<CompletionEvent, AiError> {
    let without_end = AiError::new(Failure::Protocol("an answer without an end"), true);
    events.next().await.unwrap_or(Err(without_end))
}
