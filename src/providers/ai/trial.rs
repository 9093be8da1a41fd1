//! A trial: a small request of our own, which shows whether a provider works when persons' requests have failed. It is nobody's
//! answer, and is counted for nobody.

use std::time::Duration;

use cura_domain::message::Role;
use cura_domain::prompt::PromptMessage;
use futures_util::StreamExt;

use super::backend::Backend;
use super::call::{Call, RequestKey};
use super::error::{AiError, Failure, TimeoutPhase};
use super::prompt::Prompt;

/// How long a provider may take to begin its answer, unless it is given less for every answer: a local model may load first.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer wanted. The trial ends with the first event anyway.
const MAX_OUTPUT_TOKENS: u32 = 16;
/// What is asked.
const QUESTION: &str = "Are you there? Answer with yes.";

/// Sends a trial and waits for the first event of the answer.
///
/// # Errors
/// The failure, which is everybody's: none of a person's words were sent.
pub(super) async fn send_trial(backend: &Backend) -> Result<(), AiError> {
    let prompt = Prompt {
        messages: vec![PromptMessage {
            role: Role::User,
            content: QUESTION.to_owned(),
        }],
        max_output_tokens: Some(MAX_OUTPUT_TOKENS),
        written: String::new(),
    };
    let call = Call::without_words(RequestKey::Trial);
    let first_event = async {
        let mut events = backend.open(&call, &prompt).await?;
        match events.next().await {
            Some(first) => first.map(drop),
            None => Err(AiError::new(Failure::Protocol("an answer without an end"), true)),
        }
    };
    tokio::time::timeout(TRIAL_TIMEOUT, first_event)
        .await
        .unwrap_or_else(|_| {
            let (phase, limit) = (TimeoutPhase::FirstByte, TRIAL_TIMEOUT);
            Err(AiError::new(Failure::Timeout { phase, limit }, true))
        })
}
