//! A request to the model on Cura's own behalf: it waits for the whole reply, and its cost is not counted as the user's.

use std::time::Duration;

use cura_domain::prompt::PromptMessage;
use cura_providers::ai::{AiError, Call, CompletionEvent, Prompt, RequestKey};
use cura_queue::JobError;
use futures_util::StreamExt;

use crate::context::JobContext;

/// Where a reply is cut off, in UTF-8 bytes.
const MAX_BYTES: usize = 64 * 1024;
/// The shortest pause while the circuit breakers are open.
const MIN_SNOOZE: Duration = Duration::from_secs(1);

/// The model's reply.
pub(crate) struct Reply {
    pub(crate) text: String,
    /// The model that wrote it.
    pub(crate) model: String,
}

/// Sends `messages` and waits for the whole reply.
///
/// # Errors
/// [`JobError::Snooze`] while the providers' circuit breakers are open; [`JobError::Retry`] or [`JobError::Discard`] as the
/// provider's failure is temporary or final.
pub(crate) async fn ask(
    context: &JobContext,
    key: RequestKey,
    messages: Vec<PromptMessage>,
    max_output_tokens: u32,
) -> Result<Reply, JobError> {
    if let Err(open) = context.ai.check(None) {
        return Err(JobError::Snooze {
            after: open.retry_after.max(MIN_SNOOZE),
            reason: "the providers' circuit breakers are open".to_owned(),
        });
    }
    let prompt = Prompt {
        messages,
        written: String::new(),
        max_output_tokens: Some(max_output_tokens),
    };
    let mut completion = context
        .ai
        .open_completion(&Call::new(key), prompt)
        .await
        .map_err(job_error)?;
    let mut text = String::new();
    while let Some(event) = completion.events.next().await {
        match event.map_err(job_error)? {
            CompletionEvent::Text(more) if text.len() + more.len() <= MAX_BYTES => text.push_str(&more),
            CompletionEvent::Text(_) => break,
            CompletionEvent::Finished { usage, model, .. } => {
                let tokens = usage.map(|usage| usage.input_tokens.saturating_add(usage.output_tokens));
                tracing::info!(
                    provider = %completion.model.provider,
                    tokens,
                    "the model answered a request for a title or a summary"
                );
                if let Some(model) = model {
                    completion.model.model = model;
                }
            }
        }
    }
    Ok(Reply {
        text,
        model: completion.model.model,
    })
}

fn job_error(error: AiError) -> JobError {
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
