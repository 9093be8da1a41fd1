//! A request to the model on Cura's own behalf, with words of a person, who pays for it: it waits for the whole reply.

use std::time::Duration;

use cura_domain::message::{FinishReason, Usage};
use cura_domain::prompt::PromptMessage;
use cura_providers::ai::{AiError, Call, CompletionEvent, Failure, PaidCalls, Prompt, RequestKey};
use cura_queue::{JobError, Run};
use cura_store::model_calls::CallKind;
use cura_store::owners::ConversationOwner;
use futures_util::StreamExt;

use super::reserved_call::ReservedCall;
use crate::context::JobContext;
use crate::words;

/// Where a reply is cut off, in UTF-8 bytes.
const MAX_BYTES: usize = 64 * 1024;
/// The shortest pause while the circuit breakers are open.
const MIN_SNOOZE: Duration = Duration::from_secs(1);

/// A question to the model.
pub(crate) struct Question {
    pub(crate) kind: CallKind,
    pub(crate) key: RequestKey,
    /// Whose words it holds.
    pub(crate) owner: ConversationOwner,
    pub(crate) messages: Vec<PromptMessage>,
    /// The longest reply.
    pub(crate) max_output_tokens: u32,
    /// Whether this run has paid for a reply that is of no use: then each provider is asked once.
    pub(crate) is_further: bool,
}

/// The model's reply.
#[derive(Default)]
pub(crate) struct Reply {
    pub(crate) text: String,
    /// The model that wrote it.
    pub(crate) model: String,
    /// The requests that providers accepted for it.
    pub(crate) paid_calls: usize,
    /// Why it ended; `None` when it was cut off here.
    finish: Option<FinishReason>,
    /// What it cost, if the provider has stated it.
    usage: Option<Usage>,
    /// Whether the model declined to give one: then the text says so.
    is_declined: bool,
}

impl Reply {
    /// Whether the model finished it.
    pub(crate) fn is_whole(&self) -> bool {
        self.finish == Some(FinishReason::Stop)
    }

    /// Whether the provider withheld a part of it, or the model declined to give it.
    pub(crate) fn is_withheld(&self) -> bool {
        self.finish == Some(FinishReason::ContentFilter) || self.is_declined
    }
}

/// Sends a question and waits for the whole reply. `None` when nothing is to be done, which is logged: the words were deleted
/// meanwhile, or the person's tokens of the day do not suffice.
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
    let (kind, max_output_tokens) = (question.kind, question.max_output_tokens);
    let bytes = question.messages.iter().map(|message| message.content.len()).sum();
    let Some(reserved) = ReservedCall::begin(context, &question.owner, kind, bytes, max_output_tokens).await? else {
        return Ok(None);
    };
    // What an earlier run was paid for is not known, so the runs after the first may make one call only.
    let is_first = run.attempt <= 1 && !question.is_further;
    let paid = if is_first {
        PaidCalls::default()
    } else {
        PaidCalls::one_left_each()
    };
    let call = Call::new(question.key, words::permission(context, question.owner)).counted_with(&paid);
    let prompt = Prompt::of_text(question.messages, Some(max_output_tokens));
    let mut reply = Reply::default();
    let receiving = async {
        match receive(context, &call, prompt, &mut reply).await {
            Ok(()) => Ok(true),
            Err(error) if *error.failure() == Failure::Withdrawn => Ok(false),
            // The reply is lost, and was paid for: once more, and then no more.
            Err(error) if !is_first && call.report().is_some() => Err(discarded(&error)),
            Err(error) => Err(job_error(&error)),
        }
    };
    let received = words::unless_stopped(run, receiving).await;
    // Also of what failed, or was dropped in the middle.
    let reports = call.reports();
    reply.paid_calls = reports.len();
    reply.is_declined = call.was_declined();
    reserved.settle(context, &reports, reply.usage, reply.text.len()).await;
    Ok((received? == Some(true)).then_some(reply))
}

async fn receive(context: &JobContext, call: &Call, prompt: Prompt, reply: &mut Reply) -> Result<(), AiError> {
    let mut completion = context.ai.open_completion(call, prompt).await?;
    reply.model = completion.model.model;
    while let Some(event) = completion.events.next().await {
        match event? {
            CompletionEvent::Text(more) if reply.text.len() + more.len() <= MAX_BYTES => reply.text.push_str(&more),
            CompletionEvent::Text(_) => break,
            CompletionEvent::TakenBack => reply.text.clear(),
            CompletionEvent::Finished {
                reason, usage, model, ..
            } => {
                reply.finish = Some(reason);
                reply.usage = usage;
                if let Some(model) = model {
                    reply.model = model;
                }
            }
        }
    }
    Ok(())
}

fn job_error(error: &AiError) -> JobError {
    if error.retryable() || error.awaits_confirmation() {
        JobError::Retry {
            after: error.retry_after(),
            reason: error.to_string(),
        }
    } else {
        discarded(error)
    }
}

fn discarded(error: &AiError) -> JobError {
    JobError::Discard {
        reason: error.to_string(),
    }
}
