//! Generates one answer: takes it, tells the model the conversation, streams what comes, writes the end.
//!
//! May run twice, even at once after a network split: each run takes a fence first, and what an older run still writes
//! changes nothing. A final answer is never taken again, so a second run ends at once.

use std::time::Duration;

use cura_domain::MessageId;
use cura_domain::message::FinishReason;
use cura_domain::prompt::{self, PromptMessage};
use cura_providers::ai::{AiError, AnswerStream, Piece, Prompt};
use cura_queue::{GenerateAnswer, JobError, Run, StopReason};
use cura_store::answers::TakenAnswer;
use cura_store::{answers, in_time, messages};
use futures_util::future::{Fuse, FusedFuture};
use futures_util::{FutureExt, StreamExt};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::writer::{AnswerWriter, Saved};
use crate::{Parts, not_begun};

/// How many messages back a prompt can reach; its size in bytes is limited by the domain.
const HISTORY_MESSAGES: i64 = 200;
/// The longest a person waits for a provider that names the time at which it will work again.
const MAX_PATIENCE: Duration = Duration::from_secs(60);
/// The most text written at once.
const MAX_MERGED_BYTES: usize = 16 * 1024;

pub(crate) async fn run(parts: &Parts, job: GenerateAnswer, run: Run) -> Result<(), JobError> {
    let id = MessageId(job.message_id);
    let Some((taken, prompt)) = take(parts, id).await? else {
        tracing::info!(message_id = %id, "nothing to generate: the answer is final or gone");
        return Ok(());
    };
    let estimated_input = prompt.iter().map(|message| message.content.len()).sum();
    let mut writer = AnswerWriter::new(parts, id, &taken, estimated_input);
    // Shutting down is no reason to stop: running answers are drained, and given back only at the deadline.
    let stopped = run.cut();
    tokio::pin!(stopped);
    // The provider is asked at once; readers learn meanwhile that a worker has it.
    let asking = async {
        let prompt = Prompt {
            messages: prompt,
            max_output_tokens: None,
            written: String::new(),
        };
        tokio::join!(parts.ai.ask(prompt), writer.begin()).0
    };
    let accepted = tokio::select! {
        accepted = asking => Ok(accepted),
        reason = &mut stopped => Err(reason),
    };
    let mut pieces = match accepted {
        Ok(Ok(speaking)) => {
            writer.spoken_by(speaking.provider, speaking.model);
            speaking.pieces
        }
        Ok(Err(error)) => return give_up_or_retry(writer, &run, error).await,
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
            reason = &mut stopped => {
                drop(pieces);
                return stop(writer, reason).await;
            }
        };
        let end = match piece {
            Some(Ok(Piece::Text(mut text))) => {
                let end = take_ready(&mut pieces, &mut text);
                writer.append(&text).await?;
                end
            }
            end => Some(end),
        };
        match end {
            None | Some(Some(Ok(Piece::Text(_)))) => {}
            Some(Some(Ok(Piece::Finished { reason, usage, model }))) => {
                return writer.complete(reason, usage, model).await;
            }
            Some(Some(Err(error))) => return give_up_or_retry(writer, &run, error).await,
            Some(None) => {
                return Err(JobError::Retry {
                    after: None,
                    reason: "the answer broke off".to_owned(),
                });
            }
        }
    }
}

/// Ends a run that was told to stop.
async fn stop(writer: AnswerWriter<'_>, reason: StopReason) -> Result<(), JobError> {
    match reason {
        StopReason::Cancelled => writer.complete(FinishReason::Cancelled, None, None).await,
        StopReason::Lost | StopReason::Handover => Err(JobError::Retry {
            after: None,
            reason: "this worker lost its lease".to_owned(),
        }),
    }
}

/// Adds the pieces that are there already to `text`: under pressure, one write does for many. Gives the end of the
/// answer, if it was there too.
fn take_ready(pieces: &mut AnswerStream, text: &mut String) -> Option<Option<Result<Piece, AiError>>> {
    while text.len() < MAX_MERGED_BYTES {
        match pieces.next().now_or_never()? {
            Some(Ok(Piece::Text(more))) => text.push_str(&more),
            end => return Some(end),
        }
    }
    None
}

/// Takes the answer, then reads what the model is told: what was said before the question does not change any more.
async fn take(parts: &Parts, id: MessageId) -> Result<Option<(TakenAnswer, Vec<PromptMessage>)>, JobError> {
    let taken = in_time(async {
        let mut connection = parts.pool.acquire().await?;
        let Some(taken) = answers::take(&mut connection, id, parts.clock.now()).await? else {
            return Ok(None);
        };
        let history =
            messages::history(&mut connection, taken.conversation_id, taken.question, HISTORY_MESSAGES).await?;
        Ok(Some((taken, prompt::assemble(history))))
    });
    taken.await.map_err(not_begun)
}

/// The provider failed: another attempt when that makes sense and is left, else the answer is an error.
async fn give_up_or_retry(writer: AnswerWriter<'_>, run: &Run, error: AiError) -> Result<(), JobError> {
    let reason = error.to_string();
    let soon = error.retry_after().is_none_or(|after| after <= MAX_PATIENCE);
    if error.retryable() && soon && run.attempt < run.max_attempts {
        tracing::warn!(message_id = %writer.id(), code = error.code(), reason, "the provider failed; trying again");
        return Err(JobError::Retry {
            after: error.retry_after(),
            reason,
        });
    }
    if error.needs_operator() {
        tracing::error!(message_id = %writer.id(), code = error.code(), reason, "the provider will not work for us");
    } else {
        tracing::warn!(message_id = %writer.id(), code = error.code(), reason, "the provider failed; giving up");
    }
    writer.fail(error.code()).await?;
    Err(JobError::Fail { reason })
}
