//! Summarizes a conversation up to a message, so that prompts can carry the whole of a long conversation.
//!
//! May run twice: the first summary of a message stays. If it fails, prompts lack the oldest messages until the next answer
//! enqueues it again.

use std::sync::Arc;

use cura_domain::MessageId;
use cura_domain::prompt::{self, PromptMessage};
use cura_domain::token_estimate::MIN_BYTES_PER_TOKEN;
use cura_providers::ai::RequestKey;
use cura_queue::{JobError, Run, SummarizeConversation};
use cura_store::history;

use super::ask_model::{self, Reply};
use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;

/// The most tokens of a summary.
const MAX_TOKENS: u32 = 1500;
/// The most of a history that is read, in UTF-8 bytes: months of messages.
const MAX_HISTORY_BYTES: i64 = 4 * 1024 * 1024;
/// The longest summary kept, in UTF-8 bytes.
const MAX_SUMMARY_BYTES: usize = 8 * 1024;

pub(crate) async fn run(context: Arc<JobContext>, job: SummarizeConversation, _: Run) -> Result<(), JobError> {
    let database = &context.database;
    let message = MessageId(job.message_id);
    let read = database.connection(async |connection| {
        let Some((user, conversation)) = history::find_owner(connection, message).await? else {
            return Ok(None);
        };
        let history = history::load(connection, conversation, message, MAX_HISTORY_BYTES).await?;
        Ok(Some((user, history)))
    });
    let Some((user, history)) = read.await.map_err(snooze_if_unavailable)? else {
        tracing::info!(message_id = %message, "nothing to summarize: the message is gone");
        return Ok(());
    };
    let oldest_first = history.newest_first.into_iter().rev();
    let messages: Vec<PromptMessage> = oldest_first.map(|past| past.message).collect();
    let Some(summary) = summarize(&context, message, &messages, history.summary).await? else {
        tracing::info!(message_id = %message, "nothing to summarize: no message since the last summary");
        return Ok(());
    };
    let now = context.clock.now();
    let kept = database.connection(async |connection| {
        history::insert_summary(connection, user, message, &summary.text, &summary.model, now).await
    });
    kept.await.map_err(snooze_if_unavailable)
}

/// Summarizes as many messages at a time as a prompt can carry, each time together with the summary so far. `None` if there
/// are no messages.
async fn summarize(
    context: &JobContext,
    message: MessageId,
    messages: &[PromptMessage],
    earlier: Option<String>,
) -> Result<Option<Reply>, JobError> {
    let context_tokens = context.assistant.context_tokens;
    let mut latest: Option<Reply> = None;
    for chunk in chunks_of(messages, context_tokens) {
        let so_far = latest
            .as_ref()
            .map_or(earlier.as_deref(), |reply| Some(reply.text.as_str()));
        let prompt = prompt::for_summary(chunk, so_far);
        let mut reply = ask_model::ask(context, RequestKey::Summary(message), prompt, MAX_TOKENS).await?;
        // As many bytes as a prompt has tokens: about a quarter of it.
        let longest = MAX_SUMMARY_BYTES.min(context_tokens);
        reply.text.truncate(reply.text.floor_char_boundary(longest));
        if reply.text.trim().is_empty() {
            return Err(JobError::Retry {
                after: None,
                reason: "the model's summary is empty".to_owned(),
            });
        }
        latest = Some(reply);
    }
    Ok(latest)
}

/// Splits `messages` into chunks of at most about `tokens` tokens, by a cautious estimate, of at least one message each.
fn chunks_of(messages: &[PromptMessage], tokens: usize) -> impl Iterator<Item = &[PromptMessage]> {
    let mut rest = messages;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|message| {
            bytes += message.content.len();
            bytes <= tokens * MIN_BYTES_PER_TOKEN
        });
        let (chunk, others) = rest.split_at(fits.count().max(1).min(rest.len()));
        rest = others;
        (!chunk.is_empty()).then_some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use cura_domain::message::Role;

    use super::*;

    #[test]
    fn a_long_history_is_read_in_chunks_and_nothing_is_left_out() {
        let messages: Vec<PromptMessage> = [10, 10, 100, 10, 10, 10]
            .into_iter()
            .map(|length| PromptMessage {
                role: Role::User,
                content: "x".repeat(length),
            })
            .collect();
        let chunks: Vec<usize> = chunks_of(&messages, 10).map(<[_]>::len).collect();
        assert_eq!(chunks, [2, 1, 3]);
        assert_eq!(chunks_of(&[], 10).count(), 0);
    }
}
