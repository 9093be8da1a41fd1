//! Generates one answer: begins an attempt, asks the provider, streams the text, finishes the answer.
//!
//! May run twice, even at once after a network split: each run begins an attempt of its own, and the writes of an older
//! attempt change nothing. A final answer is never begun again, so a second run ends at once. A later attempt continues
//! where readers have seen the text end, if the provider can.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use cura_answers::{Checkpoint, SaveSchedule, WriteError};
use cura_domain::MessageId;
use cura_domain::message::{FinishReason, Usage};
use cura_providers::ai::{AiError, CompletionEvent, CompletionStream, Failure};
use cura_queue::{GenerateAnswer, JobError, Run, StopReason};
use futures_util::future::{Fuse, FusedFuture};
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, Sleep};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::prepare_attempt::{MAX_WAIT_FOR_PROVIDER, PreparedAttempt, prepare_attempt};
use super::running_attempt::{OpenError, RunningAttempt};
use super::write_failed;
use crate::context::JobContext;
use crate::errors::DATABASE_PAUSE;

/// The longest a half-written answer waits for a provider that cannot be asked, from when it became eligible to start.
const MAX_AGE: TimeDelta = TimeDelta::minutes(15);
/// How old an answer may be that waits, without spending an attempt, until it is found out whether an operator has to act: longer
/// than finding out takes.
const MAX_WAIT_FOR_CONFIRMATION: TimeDelta = TimeDelta::seconds(30);
/// How long it waits at least before it asks again; else half its age.
const MIN_CONFIRMATION_SNOOZE: Duration = Duration::from_secs(1);
/// How long an answer waits at least for files that cannot be had now; else half its age.
const MIN_FILES_SNOOZE: Duration = Duration::from_secs(2);
/// The longest `Retry-After` of a provider that is waited for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// The most text that is appended at once, in UTF-8 bytes.
const MAX_MERGED_BYTES: usize = 16 * 1024;

pub(crate) async fn run(context: Arc<JobContext>, job: GenerateAnswer, run: Run) -> Result<(), JobError> {
    let context = &*context;
    let id = MessageId(job.message_id);
    let (attempt, prompt_context) = match prepare_attempt(context, id, &run).await? {
        PreparedAttempt::Started(attempt, prompt_context) => (attempt, prompt_context),
        PreparedAttempt::CancelRequested(attempt) => {
            return RunningAttempt::new(context, id, attempt, run).cancel().await;
        }
        PreparedAttempt::Ended => {
            tracing::info!(message_id = %id, "nothing to generate: the answer is final or deleted");
            return Ok(());
        }
    };
    let mut attempt = RunningAttempt::new(context, id, attempt, run.clone());
    let stop = run.cancelled();
    tokio::pin!(stop);
    let opened = tokio::select! {
        opened = attempt.open(&prompt_context) => opened,
        reason = &mut stop => return end_early(attempt, reason).await,
    };
    // It may hold the texts of documents.
    drop(prompt_context);
    // Outlives the stream: a checkpoint under way is not cut, which would cost its connection, while the answer ends.
    let mut checkpoint = Fuse::terminated();
    let end = match opened {
        Ok(completion) => stream(&mut attempt, completion.events, &mut checkpoint, stop.as_mut()).await?,
        Err(OpenError::Provider(error)) => StreamEnd::Failed(error),
        Err(OpenError::Job(error)) => return Err(error),
        Err(OpenError::Files(away)) => {
            // No provider was asked, so this is no attempt.
            let half_its_age = attempt.writer.age().to_std().unwrap_or_default() / 2;
            let left = attempt.wait_left_for_files().to_std().unwrap_or_default();
            let pause = half_its_age.max(MIN_FILES_SNOOZE).min(left);
            return attempt.snooze(pause, away.reason().to_owned()).await;
        }
    };
    match end {
        StreamEnd::Finished {
            reason,
            usage,
            reasoning_tokens,
        } => attempt.complete(reason, usage, reasoning_tokens).await,
        StreamEnd::Failed(error) => fail_or_retry(attempt, &run, error).await,
        StreamEnd::Stopped(reason) => end_early(attempt, reason).await,
    }
}

/// Why a stream ended.
enum StreamEnd {
    /// The provider finished the answer.
    Finished {
        reason: FinishReason,
        usage: Option<Usage>,
        reasoning_tokens: Option<i64>,
    },
    /// The provider failed.
    Failed(AiError),
    /// The run is to end.
    Stopped(StopReason),
}

/// Appends what the provider sends, and saves it at intervals, until the stream ends or the run is to end.
async fn stream(
    attempt: &mut RunningAttempt<'_>,
    mut events: CompletionStream,
    checkpoint: &mut Fuse<AbortOnDropHandle<Checkpoint>>,
    mut stop: Pin<&mut impl Future<Output = StopReason>>,
) -> Result<StreamEnd, JobError> {
    let mut schedule = SaveSchedule::begin(Instant::now());
    let due = tokio::time::sleep_until(next_save(&schedule, attempt));
    tokio::pin!(due);
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = &mut due, if checkpoint.is_terminated() => {
                attempt.writer.restore_if_lost().await.map_err(write_failed)?;
                // In a task of its own, so that a slow database delays no text, and a checkpoint that waits for a connection is
                // polled while the stream waits for another.
                *checkpoint = attempt.checkpoint().map_or_else(Fuse::terminated, |saving| {
                    AbortOnDropHandle::new(TaskTracker::new().spawn(saving)).fuse()
                });
                let is_saving = !checkpoint.is_terminated();
                schedule.saved(Instant::now(), is_saving, attempt.writer.live_is_whole());
                due.as_mut().reset(next_save(&schedule, attempt));
                continue;
            }
            saved = &mut *checkpoint => {
                if let Ok(saved) = saved {
                    if saved.failed() {
                        schedule.failed(Instant::now());
                    }
                    attempt.writer.record_checkpoint(saved).map_err(write_failed)?;
                }
                due.as_mut().reset(next_save(&schedule, attempt));
                continue;
            }
            () = attempt.writer.lost() => {
                attempt.writer.restore_if_lost().await.map_err(write_failed)?;
                bring_forward(due.as_mut(), next_save(&schedule, attempt));
                continue;
            }
            reason = &mut stop => return Ok(StreamEnd::Stopped(reason)),
        };
        let next = match event {
            Some(Ok(CompletionEvent::Text(mut text))) => {
                let next = take_ready(&mut events, &mut text);
                match attempt.writer.append(&text).await {
                    // What fits is written, and ends here. Its cost is an estimate: the provider would state it at its end.
                    Err(WriteError::TooLong) => {
                        return Ok(StreamEnd::Finished {
                            reason: FinishReason::Length,
                            usage: None,
                            reasoning_tokens: None,
                        });
                    }
                    appended => appended.map_err(write_failed)?,
                }
                bring_forward(due.as_mut(), next_save(&schedule, attempt));
                next
            }
            next => Ready::Event(next),
        };
        match next {
            Ready::Nothing | Ready::Event(Some(Ok(CompletionEvent::Text(_)))) => {}
            Ready::Event(Some(Ok(CompletionEvent::TakenBack))) => {
                // It has the text that is taken back, and the fence that then is old.
                if !checkpoint.is_terminated()
                    && let Ok(saved) = (&mut *checkpoint).await
                {
                    attempt.writer.record_checkpoint(saved).map_err(write_failed)?;
                }
                attempt.take_back().await?;
            }
            Ready::Event(Some(Ok(CompletionEvent::Finished {
                reason,
                usage,
                reasoning_tokens,
                ..
            }))) => {
                return Ok(StreamEnd::Finished {
                    reason,
                    usage,
                    reasoning_tokens,
                });
            }
            Ready::Event(Some(Err(error))) => return Ok(StreamEnd::Failed(error)),
            Ready::Event(None) => {
                let error = AiError::new(Failure::Protocol("an answer without an end"), false);
                return Ok(StreamEnd::Failed(error));
            }
        }
    }
}

fn next_save(schedule: &SaveSchedule, attempt: &RunningAttempt<'_>) -> Instant {
    schedule.due(attempt.writer.unsaved_bytes(), attempt.writer.live_is_whole())
}

/// Costs nothing unless there is less to wait.
fn bring_forward(due: Pin<&mut Sleep>, at: Instant) {
    if at < due.deadline() {
        due.reset(at);
    }
}

/// What a stream has ready beyond text.
enum Ready {
    /// Nothing yet.
    Nothing,
    /// An event, or the end of the stream.
    Event(Option<Result<CompletionEvent, AiError>>),
}

/// Adds the text that is ready to `text`, so that under pressure many chunks become one append. Returns what came after
/// the text, if it is ready too.
fn take_ready(events: &mut CompletionStream, text: &mut String) -> Ready {
    while text.len() < MAX_MERGED_BYTES {
        match events.next().now_or_never() {
            Some(Some(Ok(CompletionEvent::Text(more)))) => text.push_str(&more),
            Some(event) => return Ready::Event(event),
            None => break,
        }
    }
    Ready::Nothing
}

/// Ends a run that was stopped while its answer was unfinished.
async fn end_early(attempt: RunningAttempt<'_>, reason: StopReason) -> Result<(), JobError> {
    match reason {
        StopReason::Cancelled => attempt.cancel().await,
        StopReason::Draining | StopReason::Release => attempt.release().await,
        StopReason::Lost => Err(JobError::Retry {
            after: None,
            reason: "this worker lost its lease".to_owned(),
        }),
    }
}

/// Ends an attempt whose provider failed: snoozes or retries the job where that can help, else fails the answer.
async fn fail_or_retry(mut attempt: RunningAttempt<'_>, run: &Run, error: AiError) -> Result<(), JobError> {
    attempt.provider_failed();
    if run.stop_reason() == Some(StopReason::Cancelled) || *error.failure() == Failure::Withdrawn {
        return attempt.cancel().await;
    }
    let (writer, reason) = (&attempt.writer, error.to_string());
    if matches!(error.failure(), Failure::Unconfirmed) {
        // The database was too slow to say whether the words may be sent, so no provider was asked, and this is no attempt.
        return attempt.snooze(DATABASE_PAUSE, reason).await;
    }
    let wait = error.retry_after().unwrap_or_default();
    let age = writer.age() + TimeDelta::from_std(wait).unwrap_or(MAX_WAIT_FOR_PROVIDER);
    // A person who has seen part of an answer wants its rest, however old it is.
    let is_worth_waiting = age <= MAX_WAIT_FOR_PROVIDER || !writer.text().is_empty();
    if let Failure::CircuitOpen { retry_after: wait } = *error.failure()
        && is_worth_waiting
        && writer.age() <= MAX_AGE
    {
        // No provider was asked, so this is no attempt.
        return attempt.snooze(wait, reason).await;
    }
    let id = writer.id();
    let may_pass = error.retryable() || error.awaits_confirmation();
    if error.awaits_confirmation() && writer.age() <= MAX_WAIT_FOR_CONFIRMATION {
        // One refusal of our key may be a glitch. A request of our own finds out, and then this one fails at once.
        tracing::warn!(message_id = %id, code = error.code(), reason, "the provider may need an operator; asking again");
        let half_its_age = writer.age().to_std().unwrap_or_default() / 2;
        return attempt.snooze(half_its_age.max(MIN_CONFIRMATION_SNOOZE), reason).await;
    }
    if may_pass && is_worth_waiting && wait <= MAX_RETRY_AFTER && run.attempt < run.max_attempts {
        tracing::warn!(message_id = %id, code = error.code(), reason, "the provider failed; retrying");
        return attempt.retry(error.retry_after(), reason).await;
    }
    // The circuit breaker alerts operators, once, when they are needed.
    tracing::warn!(message_id = %id, code = error.code(), reason, "the provider failed; the answer is an error");
    attempt.fail(error.code(), &reason).await?;
    Err(JobError::Discard { reason })
}
