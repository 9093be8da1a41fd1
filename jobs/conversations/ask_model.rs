//! A request to the model on Cura's own behalf, with words of a person: it waits for the whole reply.

use std::time::Duration;

use cura_domain::prompt::PromptMessage;
use cura_providers::ai::{AiError, Call, CompletionEvent, Failure, Prompt, RequestKey};
use cura_queue::{JobError, Run};
use cura_store::owners::ConversationOwner;
use futures_util::StreamExt;

use crate::context::JobContext;
use crate::words;

/// Where a reply is cut off, in UTF-8 bytes.
const MAX_BYTES: usize = 64 * 1024;
/// The shortest pause while the circuit breakers are open.
const MIN_SNOOZE: Duration = Duration::from_secs(1);

/// A question to the model.
pub(crate) struct Question {
    pub(crate) key: RequestKey,
    /// Whose words it holds.
    pub(crate) owner: ConversationOwner,
    pub(crate) messages: Vec<PromptMessage>,
    /// The longest reply.
    pub(crate) max_output_tokens: u32,
}

/// The model's reply.
pub(crate) struct Reply {
    pub(crate) text: String,
    /// The model that wrote it.
    pub(crate) model: String,
}

/// Sends a question and waits for the whole reply. `None` when the words were deleted meanwhile; then nothing is to be done.
///
/// # Errors
/// [`JobError::Snooze`] while the providers' circuit breakers are open; [`JobError::Retry`] or [`JobError::Discard`] as the
/// provider's failure is temporary or final.
pub(crate) async fn ask(context: &JobContext, run: &Run, question: Question) -> Result<Option<Reply>, JobError> {
    if let Err(open) = context.ai.check(None) {
        return Err(JobError::Snooze {
            after: open.retry_after.max(MIN_SNOOZE),
            reason: "the providers' circuit breakers are open".to_owned(),
        });
    }
    let call = Call::new(question.key, words::permission(context, question.owner));
    let prompt = Prompt {
        messages: question.messages,
        written: String::new(),
        max_output_tokens: Some(question.max_output_tokens),
    };
    let receiving = async {
        match receive(context, &call, prompt).await {
            Ok(reply) => Ok(Some(reply)),
            Err(error) if *error.failure() == Failure::Withdrawn => Ok(None),
            Err(error) => Err(job_error(error)),
        }
    };
    words::unless_stopped(run, receiving).await.map(Option::flatten)
}

async fn receive(context: &JobContext, call: &Call, prompt: Prompt) -> Result<Reply, AiError> {
    let mut completion = context.ai.open_completion(call, prompt).await?;
    let mut text = String::new();
    while let Some(event) = completion.events.next().await {
        match event? {
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
