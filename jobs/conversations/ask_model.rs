//! A short question of Cura's own to the model: asked whole, answered whole. Its cost is Cura's, not the user's.

use cura_domain::prompt::PromptMessage;
use cura_providers::ai::{AiError, Call, CompletionEvent, Prompt, RequestKey};
use cura_queue::JobError;
use futures_util::StreamExt;

use crate::Parts;

/// The longest answer that is read, in UTF-8 bytes.
const MAX_BYTES: usize = 64 * 1024;

/// What the model said.
pub(crate) struct Answered {
    pub(crate) text: String,
    pub(crate) model: String,
}

/// Asks and waits for the whole answer.
///
/// # Errors
/// [`JobError::Snooze`] while the providers' circuit breakers are open; else whatever the provider's failure means.
pub(crate) async fn ask(
    parts: &Parts,
    key: RequestKey,
    messages: Vec<PromptMessage>,
    max_output_tokens: u32,
) -> Result<Answered, JobError> {
    if let Err(open) = parts.ai.reserve(key) {
        return Err(JobError::Snooze {
            after: open.retry_after.max(std::time::Duration::from_secs(1)),
            reason: "the providers' circuit breakers are open".to_owned(),
        });
    }
    let prompt = Prompt {
        messages,
        written: String::new(),
        max_output_tokens: Some(max_output_tokens),
    };
    let mut completion = parts
        .ai
        .open_completion(&Call::new(key), prompt)
        .await
        .map_err(failed)?;
    let mut text = String::new();
    while let Some(piece) = completion.events.next().await {
        match piece.map_err(failed)? {
            CompletionEvent::Text(more) if text.len() + more.len() <= MAX_BYTES => text.push_str(&more),
            CompletionEvent::Text(_) => break,
            CompletionEvent::Finished { usage, model, .. } => {
                let tokens = usage.map(|usage| usage.input_tokens.saturating_add(usage.output_tokens));
                tracing::info!(
                    provider = %completion.model.provider,
                    tokens,
                    "a question of our own was answered"
                );
                if let Some(model) = model {
                    completion.model.model = model;
                }
            }
        }
    }
    Ok(Answered {
        text,
        model: completion.model.model,
    })
}

fn failed(error: AiError) -> JobError {
    let reason = error.to_string();
    if error.retryable() {
        JobError::Retry {
            after: error.retry_after(),
            reason,
        }
    } else {
        JobError::Discard { reason }
    }
}
