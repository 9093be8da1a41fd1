//! Summarizes a conversation up to a message, part by part, so that prompts can carry the whole of a long conversation.
//!
//! One run asks for [`MAX_PARTS`] parts at most, each with a prompt that fits the context, and each is kept: the next run, which
//! the next answer enqueues, goes on from there. May run twice: the first summary of a message stays. If it fails, prompts
//! lack the oldest messages until then.

use std::sync::Arc;

use cura_domain::message::Role;
use cura_domain::prompt::{self, HistoryMessage, PromptMessage};
use cura_domain::token_estimate::MIN_BYTES_PER_TOKEN;
use cura_domain::{MessageId, model_reply};
use cura_providers::ai::RequestKey;
use cura_queue::{JobError, Run, SummarizeConversation};
use cura_store::history::History;
use cura_store::model_calls::CallKind;
use cura_store::owners::{self, ConversationOwner};
use cura_store::{history, users};

use super::ask_model::{self, Question};
use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;

/// The most requests of one run.
const MAX_PARTS: usize = 2;
/// The most tokens of a summary.
const MAX_TOKENS: u32 = 1500;
/// The most of a history that is read, in UTF-8 bytes: months of messages.
const MAX_HISTORY_BYTES: i64 = 4 * 1024 * 1024;
/// The longest summary kept, in UTF-8 bytes.
const MAX_SUMMARY_BYTES: usize = 8 * 1024;
/// What a prompt holds besides messages and the earlier summary, in UTF-8 bytes.
const INSTRUCTION_BYTES: usize = 600;
/// What a prompt holds for each message besides its text, in UTF-8 bytes.
const BYTES_PER_MESSAGE: usize = 12;
/// The least room for messages, in UTF-8 bytes, however small the context is.
const MIN_ROOM_BYTES: usize = 256;

pub(crate) async fn run(context: Arc<JobContext>, job: SummarizeConversation, run: Run) -> Result<(), JobError> {
    let message = MessageId(job.message_id);
    let read = context.database.connection(async |connection| {
        let Some(owner) = owners::find_of_message(connection, message).await? else {
            return Ok(None);
        };
        if history::has_summary(connection, message).await? {
            return Ok(None);
        }
        let history = history::load(connection, &owner, message, MAX_HISTORY_BYTES).await?;
        let history = with_names_of_files(history);
        Ok(Some((owner, history)))
    });
    let Some((owner, history)) = read.await.map_err(snooze_if_unavailable)? else {
        tracing::info!(message_id = %message, "nothing to summarize: the message is deleted, or it is done");
        return Ok(());
    };
    let mut summary = history.summary;
    let oldest_first: Vec<HistoryMessage> = history.newest_first.into_iter().rev().collect();
    let mut rest = oldest_first.as_slice();
    for _ in 0..MAX_PARTS {
        let room = room_for_messages(context.max_prompt_tokens(owner.user()), summary.as_deref());
        let (part, others) = split_part(rest, room);
        let Some(last) = part.last() else {
            break;
        };
        let messages = prompt::for_summary(&cut(part, room), summary.as_deref());
        let Some(made) = make(&context, &run, owner, last.id, messages).await? else {
            // Logged where it was decided.
            return Ok(());
        };
        keep(&context, owner, last.id, &made).await?;
        summary = Some(made.text);
        rest = others;
    }
    if !rest.is_empty() {
        tracing::info!(message_id = %message, messages = rest.len(), "a part was summarized; the rest follows after the next answer");
    }
    Ok(())
}

/// The same history, whose files are named in the texts.
fn with_names_of_files(history: History) -> History {
    let named = history.newest_first.into_iter().map(|said| HistoryMessage {
        id: said.id,
        message: PromptMessage::plain(said.message.role, said.message.text_with_names()),
    });
    History {
        newest_first: named.collect(),
        summary: history.summary,
    }
}

/// A summary, and the model that wrote it.
struct Summary {
    text: String,
    model: String,
}

/// Asks for the summary of everything up to `message`, once more if the first reply is none and nothing else was paid for. `None`
/// when there is none, which is logged: prompts lack it until the next answer asks anew.
async fn make(
    context: &JobContext,
    run: &Run,
    owner: ConversationOwner,
    message: MessageId,
    messages: Vec<PromptMessage>,
) -> Result<Option<Summary>, JobError> {
    let replaced = messages.iter().map(|message| message.content.len()).sum();
    let mut is_further = false;
    loop {
        let question = Question {
            kind: CallKind::Summary,
            key: RequestKey::Summary(message),
            owner,
            messages: messages.clone(),
            max_output_tokens: MAX_TOKENS,
            is_further,
        };
        let Some(reply) = ask_model::ask(context, run, question).await? else {
            return Ok(None);
        };
        if reply.is_whole()
            && !reply.is_withheld()
            && let Some(mut text) = model_reply::summary(&reply.text, replaced)
        {
            // As many bytes as a prompt has tokens: about a quarter of it.
            let longest = MAX_SUMMARY_BYTES.min(context.max_prompt_tokens(owner.user()));
            text.truncate(text.floor_char_boundary(longest));
            return Ok(Some(Summary {
                text,
                model: reply.model,
            }));
        }
        // A provider that was paid for nothing is asked once more, and then no more.
        if is_further || reply.paid_calls > 1 || run.attempt > 1 {
            break;
        }
        is_further = true;
    }
    tracing::info!(message_id = %message, "the model gave no whole summary; prompts lack the oldest messages until the next answer");
    Ok(None)
}

/// Stores the summary of everything up to `message`, unless the words were deleted meanwhile.
async fn keep(
    context: &JobContext,
    owner: ConversationOwner,
    message: MessageId,
    summary: &Summary,
) -> Result<(), JobError> {
    let now = context.clock.now();
    let kept = context.database.transaction(async |connection| {
        let held = users::hold(connection, owner.user()).await?;
        if held.is_none() || owners::find(connection, owner.conversation()).await?.is_none() {
            return Ok(());
        }
        history::insert_summary(connection, owner.user(), message, &summary.text, &summary.model, now).await
    });
    kept.await.map_err(snooze_if_unavailable)
}

/// How many bytes of messages fit into a prompt of `context_tokens` tokens, by a cautious estimate, beside the summary so far.
fn room_for_messages(context_tokens: usize, earlier: Option<&str>) -> usize {
    let other = INSTRUCTION_BYTES + earlier.map_or(0, str::len);
    (context_tokens * MIN_BYTES_PER_TOKEN)
        .saturating_sub(other)
        .max(MIN_ROOM_BYTES)
}

/// The oldest messages that have room, at least one, and the others. It ends with an answer, if there is one in it: a prompt
/// does not begin with an answer whose question it lacks.
fn split_part(oldest_first: &[HistoryMessage], room: usize) -> (&[HistoryMessage], &[HistoryMessage]) {
    let mut bytes = 0;
    let fits = oldest_first.iter().take_while(|past| {
        bytes += past.message.content.len() + BYTES_PER_MESSAGE;
        bytes <= room
    });
    let fits = fits.count().max(1).min(oldest_first.len());
    let part = oldest_first.get(..fits).unwrap_or_default();
    let last_answer = part.iter().rposition(|past| past.message.role == Role::Assistant);
    let end = last_answer.map_or(fits, |at| at + 1);
    oldest_first.split_at(end)
}

/// The messages, each cut to `room`: a single one may be longer.
fn cut(part: &[HistoryMessage], room: usize) -> Vec<PromptMessage> {
    let messages = part.iter().map(|past| past.message.clone());
    messages
        .map(|mut message| {
            message.content.truncate(message.content.floor_char_boundary(room));
            message
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(lengths: &[usize]) -> Vec<HistoryMessage> {
        let message = |(n, length): (usize, &usize)| HistoryMessage {
            id: MessageId(i64::try_from(n).unwrap()),
            message: PromptMessage::plain(
                if n % 2 == 0 { Role::User } else { Role::Assistant },
                "x".repeat(*length),
            ),
        };
        lengths.iter().enumerate().map(message).collect()
    }

    #[test]
    fn a_part_ends_with_an_answer_and_nothing_is_left_out() {
        let messages = history(&[10, 10, 100, 10, 10, 10]);
        let mut rest = messages.as_slice();
        let mut parts = Vec::new();
        while !rest.is_empty() {
            let (part, others) = split_part(rest, 60);
            parts.push(part.len());
            rest = others;
        }
        assert_eq!(parts, [2, 1, 1, 2]);
        assert!(split_part(&[], 60).0.is_empty());
    }

    #[test]
    fn a_message_that_is_longer_than_a_prompt_is_cut() {
        let messages = history(&[1000]);
        assert_eq!(cut(&messages, 70)[0].content.len(), 70);
    }
}
