//! A short question of Cura's own to the model: asked whole, answered whole. Its cost is Cura's, not the user's.

use cura_domain::prompt::PromptMessage;
use cura_providers::ai::{AiError, Asker, Call, Piece, Prompt};
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
/// [`JobError::Snooze`] while the providers are given a rest; else whatever the provider's failure means.
pub(crate) async fn ask(
    parts: &Parts,
    asker: Asker,
    messages: Vec<PromptMessage>,
    max_output_tokens: u32,
) -> Result<Answered, JobError> {
    if let Err(after) = parts.ai.admit(asker) {
        return Err(JobError::Snooze {
            after: after.max(std::time::Duration::from_secs(1)),
            reason: "the providers are given a rest".to_owned(),
        });
    }
    let prompt = Prompt {
        messages,
        written: String::new(),
        max_output_tokens: Some(max_output_tokens),
    };
    let mut speaking = parts.ai.ask(&Call::new(asker), prompt).await.map_err(failed)?;
    let mut text = String::new();
    while let Some(piece) = speaking.pieces.next().await {
        match piece.map_err(failed)? {
            Piece::Text(more) if text.len() + more.len() <= MAX_BYTES => text.push_str(&more),
            Piece::Text(_) => break,
            Piece::Finished { usage, model, .. } => {
                let tokens = usage.map(|usage| usage.input_tokens.saturating_add(usage.output_tokens));
                tracing::info!(
                    provider = speaking.provider,
                    tokens,
                    "a question of our own was answered"
                );
                speaking.model = model.unwrap_or(speaking.model);
            }
        }
    }
    Ok(Answered {
        text,
        model: speaking.model,
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
