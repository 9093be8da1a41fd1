//! Generates one answer: takes it, tells the model the conversation, streams what comes, writes the end.
//!
//! May run twice, even at once after a network split: each run takes a fence first, and what an older run still writes
//! changes nothing. A final answer is never taken again, so a second run ends at once. A later run goes on where readers
//! have seen the text end, if the provider can.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use cura_domain::{MessageId, tokens};
use cura_providers::ai::{AiError, Call, CompletionEvent, CompletionStream, Failure, OpenCompletion, Prompt};
use cura_queue::{GenerateAnswer, JobError, Run, StopReason};
use futures_util::future::{Fuse, FusedFuture};
use futures_util::{FutureExt, StreamExt};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::context::JobContext;
use crate::taking::{self, Taking, Told};
use crate::writer::{AnswerWriter, Saved};

/// The longest a person waits for a provider that will not begin, from the first attempt on.
pub(crate) const PATIENCE: TimeDelta = TimeDelta::minutes(2);
/// The longest a half-written answer waits for a provider whose circuit breaker is open.
const MAX_AGE: TimeDelta = TimeDelta::minutes(15);
/// The longest a person waits for a provider that names the time at which it will work again.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// The most text written at once.
const MAX_MERGED_BYTES: usize = 16 * 1024;

pub(crate) async fn run(parts: Arc<JobContext>, job: GenerateAnswer, run: Run) -> Result<(), JobError> {
    let parts = &*parts;
    let id = MessageId(job.message_id);
    let (taken, told) = match taking::take(parts, id).await? {
        Taking::Taken(taken, told) => (taken, told),
        Taking::Cancelled(taken) => return AnswerWriter::new(parts, id, &taken).cancel().await,
        Taking::Over => {
            tracing::info!(message_id = %id, "nothing to generate: the answer is final or gone");
            return Ok(());
        }
    };
    let mut writer = AnswerWriter::new(parts, id, &taken);
    let must_stop = run.cancelled();
    tokio::pin!(must_stop);
    let asked = tokio::select! {
        asked = ask(parts, &told, &mut writer) => Ok(asked),
        reason = &mut must_stop => Err(reason),
    };
    let mut pieces = match asked {
        Ok(Ok(Ok(completion))) => completion.events,
        Ok(Ok(Err(error))) => return give_up_or_retry(writer, &run, error).await,
        Ok(Err(error)) => return Err(error),
        Err(reason) => return stop(writer, reason).await,
    };
    let mut save = tokio::time::interval(AnswerWriter::SAVE_EVERY);
    save.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    save.reset();
    // Beside the stream: a database that answers slowly, or not at all, holds no word back. In a task of its own: a save
    // that waits for a connection, and is not polled while the end waits for one too, would keep it for ever.
    let mut saving: Fuse<AbortOnDropHandle<Saved>> = Fuse::terminated();
    loop {
        let piece = tokio::select! {
            piece = pieces.next() => piece,
            _ = save.tick(), if saving.is_terminated() => {
                writer.restore_if_lost().await?;
                saving = writer.save().map_or_else(Fuse::terminated, |save| {
                    AbortOnDropHandle::new(TaskTracker::new().spawn(save)).fuse()
                });
                continue;
            }
            saved = &mut saving => {
                if let Ok(saved) = saved {
                    writer.saved(saved)?;
                }
                continue;
            }
            reason = &mut must_stop => {
                drop(pieces);
                return stop(writer, reason).await;
            }
        };
        let end = match piece {
            Some(Ok(CompletionEvent::Text(mut text))) => {
                let end = take_ready(&mut pieces, &mut text);
                writer.append(&text).await?;
                end
            }
            end => Some(end),
        };
        match end {
            None | Some(Some(Ok(CompletionEvent::Text(_)))) => {}
            Some(Some(Ok(CompletionEvent::Finished { reason, usage, .. }))) => {
                return writer.complete(reason, usage).await;
            }
            Some(Some(Err(error))) => return give_up_or_retry(writer, &run, error).await,
            Some(None) => {
                let broken = AiError::new(Failure::Protocol("an answer without an end"), false);
                return give_up_or_retry(writer, &run, broken).await;
            }
        }
    }
}

/// Asks the provider; once more with half the past if it was too much.
async fn ask(
    parts: &JobContext,
    told: &Told,
    writer: &mut AnswerWriter<'_>,
) -> Result<Result<OpenCompletion, AiError>, JobError> {
    let budget = parts.assistant.context_tokens;
    let (call, prompt, tokens) = put_together(parts, told, writer, budget).await?;
    // The provider is asked at once; readers learn meanwhile that a worker has it.
    let (asked, ()) = tokio::join!(parts.ai.open_completion(&call, prompt), writer.begin());
    match asked {
        Err(error) if *error.failure() == Failure::ContextTooLong => {
            tracing::warn!(message_id = %writer.id(), budget, "the prompt was too long for the model; asking with half of it");
            let (call, prompt, _) = put_together(parts, told, writer, tokens.min(budget) / 2).await?;
            Ok(parts.ai.open_completion(&call, prompt).await)
        }
        asked => Ok(asked),
    }
}

/// A prompt of at most `budget` tokens, and its tokens; the writer knows what is asked before anybody is.
async fn put_together(
    parts: &JobContext,
    told: &Told,
    writer: &mut AnswerWriter<'_>,
    budget: usize,
) -> Result<(Call, Prompt, usize), JobError> {
    // What is written already is told, too.
    let written = tokens::estimate(writer.text().len());
    let room = budget.saturating_sub(written).max(budget / 4);
    let assembled = told.assemble(parts, room).await?;
    let call = writer.ask(assembled.tokens + written, assembled.summarize);
    let prompt = Prompt {
        messages: assembled.messages,
        written: writer.text().to_owned(),
        max_output_tokens: None,
    };
    Ok((call, prompt, assembled.tokens))
}

/// Ends a run that was told to stop.
async fn stop(writer: AnswerWriter<'_>, reason: StopReason) -> Result<(), JobError> {
    match reason {
        StopReason::Cancelled => writer.cancel().await,
        StopReason::Draining | StopReason::Release => writer.hand_over().await,
        StopReason::Lost => Err(JobError::Retry {
            after: None,
            reason: "this worker lost its lease".to_owned(),
        }),
    }
}

/// Adds the pieces that are there already to `text`: under pressure, one write does for many. Gives the end of the
/// answer, if it was there too.
fn take_ready(pieces: &mut CompletionStream, text: &mut String) -> Option<Option<Result<CompletionEvent, AiError>>> {
    while text.len() < MAX_MERGED_BYTES {
        match pieces.next().now_or_never()? {
            Some(Ok(CompletionEvent::Text(more))) => text.push_str(&more),
            end => return Some(end),
        }
    }
    None
}

/// The provider failed: another attempt when that makes sense and is left, else the answer is an error.
async fn give_up_or_retry(mut writer: AnswerWriter<'_>, run: &Run, error: AiError) -> Result<(), JobError> {
    writer.failed();
    if run.stop_reason() == Some(StopReason::Cancelled) {
        return writer.cancel().await;
    }
    let reason = error.to_string();
    let wait = error.retry_after().unwrap_or_default();
    // Somebody who has seen a part of an answer wants its rest, however old it is.
    let young = writer.age() + TimeDelta::from_std(wait).unwrap_or(PATIENCE) <= PATIENCE || writer.has_written();
    if let Failure::CircuitOpen { retry_after: wait } = *error.failure()
        && young
        && writer.age() <= MAX_AGE
    {
        // Whoever could help was not asked: that is no attempt.
        return writer.postpone(wait, reason).await;
    }
    if error.retryable() && young && wait <= MAX_RETRY_AFTER && run.attempt < run.max_attempts {
        tracing::warn!(message_id = %writer.id(), code = error.code(), reason, "the provider failed; trying again");
        return writer.try_again(error.retry_after(), reason).await;
    }
    // Operators are told by the provider's gate, once, when they are needed.
    tracing::warn!(message_id = %writer.id(), code = error.code(), reason, "the provider failed; giving up");
    writer.fail(error.code()).await?;
    Err(JobError::Discard { reason })
}
