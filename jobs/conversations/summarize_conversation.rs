//! Puts what was said up to a message in short, so that a model can be told all of a long conversation.
//!
//! May run twice: the first summary of a message stays. One that fails costs nothing but that the oldest turns are left out
//! of prompts until the next answer asks again.

use cura_domain::MessageId;
use cura_domain::prompt::{self, PromptMessage};
use cura_domain::tokens::FEW_BYTES_PER_TOKEN;
use cura_providers::ai::RequestKey;
use cura_queue::{JobError, SummarizeConversation};
use cura_store::{history, with_deadline};

use super::ask_model;
use crate::{Parts, not_begun};

/// Tokens a summary may have.
const MAX_TOKENS: u32 = 1500;
/// The most of a past that is read, in UTF-8 bytes: months of talk.
const MAX_BYTES: i64 = 4 * 1024 * 1024;
/// The longest summary kept, in UTF-8 bytes.
const MAX_SUMMARY: usize = 8 * 1024;

pub(crate) async fn run(parts: &Parts, job: SummarizeConversation) -> Result<(), JobError> {
    let message = MessageId(job.message_id);
    let read = with_deadline(async {
        let mut connection = parts.database.pool().acquire().await?;
        let Some((user, conversation)) = history::find_place(&mut connection, message).await? else {
            return Ok(None);
        };
        let past = history::of(&mut connection, conversation, message, MAX_BYTES).await?;
        Ok(Some((user, past)))
    });
    let Some((user, past)) = read.await.map_err(not_begun)? else {
        tracing::info!(message_id = %message, "nothing to put in short: the message is gone");
        return Ok(());
    };
    let mut summary = past.summary;
    let mut model = String::new();
    let said: Vec<PromptMessage> = past
        .newest_first
        .into_iter()
        .rev()
        .map(|spoken| spoken.message)
        .collect();
    // By what a prompt can carry, the oldest first, each part with the summary of those before.
    for part in parts_of(&said, parts.manner.context_tokens) {
        let told = prompt::for_summary(part, summary.as_deref());
        let mut answered = ask_model::ask(parts, RequestKey::Summary(message), told, MAX_TOKENS).await?;
        // At most about a quarter of a prompt.
        let longest = MAX_SUMMARY.min(parts.manner.context_tokens);
        answered.text.truncate(answered.text.floor_char_boundary(longest));
        if answered.text.trim().is_empty() {
            return Err(JobError::Retry {
                after: None,
                reason: "the model said nothing".to_owned(),
            });
        }
        summary = Some(answered.text);
        model = answered.model;
    }
    let Some(summary) = summary.filter(|_| !model.is_empty()) else {
        return Ok(());
    };
    let now = parts.clock.now();
    let kept = with_deadline(async {
        history::insert_summary(
            &mut *parts.database.pool().acquire().await?,
            user,
            message,
            &summary,
            &model,
            now,
        )
        .await
    });
    kept.await.map_err(not_begun)
}

/// `said` in parts of at most about `tokens` tokens, counted cautiously, at least one message each.
fn parts_of(said: &[PromptMessage], tokens: usize) -> impl Iterator<Item = &[PromptMessage]> {
    let mut rest = said;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|message| {
            bytes += message.content.len();
            bytes <= tokens * FEW_BYTES_PER_TOKEN
        });
        let (part, others) = rest.split_at(fits.count().max(1).min(rest.len()));
        rest = others;
        (!part.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use cura_domain::message::Role;

    use super::*;

    #[test]
    fn a_long_past_is_read_in_parts_and_nothing_is_left_out() {
        let said: Vec<PromptMessage> = [10, 10, 100, 10, 10, 10]
            .into_iter()
            .map(|length| PromptMessage {
                role: Role::User,
                content: "x".repeat(length),
            })
            .collect();
        let parts: Vec<usize> = parts_of(&said, 10).map(<[_]>::len).collect();
        assert_eq!(parts, [2, 1, 3]);
        assert_eq!(parts_of(&[], 10).count(), 0);
    }
}
