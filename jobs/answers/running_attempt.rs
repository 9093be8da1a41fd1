//! One attempt's writer and its call to a provider: what is asked, what it costs, and how the attempt ends.

use std::time::Duration;

use cura_answers::{AnswerWriter, AttemptCost, Checkpoint, FollowUps, Outcome, StartedAttempt};
use cura_domain::message::{AnswerResult, FinishReason, Usage};
use cura_domain::{MessageId, ModelRef, UserId, token_estimate};
use cura_providers::ai::{AiError, Call, Failure, OpenCompletion, Prompt, RequestKey};
use cura_queue::JobError;

use super::prepare_attempt::PromptContext;
use super::write_failed;
use crate::context::JobContext;
use crate::words;

/// An attempt at an answer, and the provider's work on it.
pub(crate) struct RunningAttempt<'a> {
    context: &'a JobContext,
    pub(crate) writer: AnswerWriter,
    /// Who asked.
    user: UserId,
    /// The request, from just before it is sent; `None` again once the provider failed without accepting it.
    request: Option<Request>,
}

struct Request {
    call: Call,
    prompt_tokens: usize,
    /// The message up to which the conversation should be summarized.
    summarize_up_to: Option<MessageId>,
}

/// Why no completion was opened.
pub(crate) enum OpenError {
    /// The provider failed.
    Provider(AiError),
    /// The prompt could not be assembled.
    Job(JobError),
}

impl<'a> RunningAttempt<'a> {
    pub(crate) fn new(context: &'a JobContext, id: MessageId, attempt: Box<StartedAttempt>) -> Self {
        Self {
            context,
            user: attempt.user_id,
            writer: context.answers.writer(id, attempt),
            request: None,
        }
    }

    /// Asks the provider while readers learn that the attempt begins. A prompt that a provider refuses for its length is shortened
    /// and sent again by the providers themselves; here only once more where one had accepted the request before it said so.
    pub(crate) async fn open(&mut self, prompt_context: &PromptContext) -> Result<OpenCompletion, OpenError> {
        let (call, prompt) = self.assemble(prompt_context).await.map_err(OpenError::Job)?;
        let (opened, ()) = tokio::join!(
            self.context.ai.open_completion(&call, prompt),
            self.writer.announce_start()
        );
        match opened {
            Err(error) if *error.failure() == Failure::ContextTooLong && call.report().is_some() => {
                tracing::warn!(
                    message_id = %self.writer.id(),
                    "the prompt is too long for the model; asking again with less of it"
                );
                let (call, prompt) = self.assemble(prompt_context).await.map_err(OpenError::Job)?;
                self.context
                    .ai
                    .open_completion(&call, prompt)
                    .await
                    .map_err(OpenError::Provider)
            }
            opened => opened.map_err(OpenError::Provider),
        }
    }

    /// A prompt of as many tokens as the model is known to take. From here on the attempt has a cost.
    async fn assemble(&mut self, prompt_context: &PromptContext) -> Result<(Call, Prompt), JobError> {
        let budget = self.context.max_prompt_tokens();
        // The text written so far is part of what is sent.
        let written = token_estimate::estimate(self.writer.text().len());
        let room = budget.saturating_sub(written).max(budget / 4);
        let assembled = prompt_context.assemble(self.context, room).await?;
        let permission = words::permission(self.context, prompt_context.owner);
        let call = Call::for_person(RequestKey::Answer(self.writer.id()), self.user, permission);
        self.request = Some(Request {
            call: call.clone(),
            prompt_tokens: assembled.tokens + written,
            summarize_up_to: assembled.summarize,
        });
        let prompt = Prompt {
            messages: assembled.messages,
            written: self.writer.text().to_owned(),
            max_output_tokens: self.context.assistant.max_output_tokens,
        };
        Ok((call, prompt))
    }

    /// Forgets a request that the provider did not accept: it costs nothing.
    pub(crate) fn provider_failed(&mut self) {
        self.request.take_if(|request| request.call.report().is_none());
    }

    /// A checkpoint of the text so far, if it has grown.
    pub(crate) fn checkpoint(&self) -> Option<impl Future<Output = Checkpoint> + Send + use<>> {
        self.writer.checkpoint(self.model())
    }

    /// Finishes the answer with the provider's end. Waits out a short absence of the database.
    ///
    /// # Errors
    /// When the database stays away; then there is another attempt.
    pub(crate) async fn complete(
        self,
        reason: FinishReason,
        usage: Option<Usage>,
        reasoning_tokens: Option<i64>,
    ) -> Result<(), JobError> {
        let cost = usage.or_else(|| self.estimate()).map(|usage| {
            let cost = self.cost(usage);
            AttemptCost {
                reasoning_tokens: reasoning_tokens.or(cost.reasoning_tokens),
                ..cost
            }
        });
        let follow_ups = FollowUps {
            title: self.context.assistant.titles,
            summarize_up_to: self.request.as_ref().and_then(|request| request.summarize_up_to),
        };
        self.finish(AnswerResult::Completed(reason), cost, follow_ups).await
    }

    /// Finishes an answer that was cancelled, with the text so far.
    ///
    /// # Errors
    /// As [`Self::complete`].
    pub(crate) async fn cancel(self) -> Result<(), JobError> {
        let cost = self.estimated_cost();
        self.finish(AnswerResult::Cancelled, cost, FollowUps::default()).await
    }

    /// Makes the answer an error, with the text so far.
    ///
    /// # Errors
    /// As [`Self::complete`].
    pub(crate) async fn fail(self, code: &str) -> Result<(), JobError> {
        let cost = self.estimated_cost();
        self.finish(AnswerResult::Failed(code), cost, FollowUps::default())
            .await
    }

    async fn finish(
        self,
        result: AnswerResult<'_>,
        cost: Option<AttemptCost>,
        follow_ups: FollowUps,
    ) -> Result<(), JobError> {
        match self.writer.finish(result, cost.as_ref(), follow_ups).await {
            Ok(finished) => {
                finished.publish(&self.context.live).await;
                Ok(())
            }
            Err(cura_answers::WriteError::Superseded) => {
                tracing::info!(message_id = %self.writer.id(), "the answer is final, or a newer attempt has it; nothing was written");
                Ok(())
            }
            Err(error) => Err(write_failed(error)),
        }
    }

    /// Saves the text and retries the job; the next attempt continues from there.
    pub(crate) async fn retry(self, after: Option<Duration>, reason: String) -> Result<(), JobError> {
        self.leave(Outcome::Retried).await;
        Err(JobError::Retry { after, reason })
    }

    /// Snoozes the job until a provider may be asked. If a provider accepted the request and failed, that has a cost.
    pub(crate) async fn snooze(self, after: Duration, reason: String) -> Result<(), JobError> {
        if self.request.is_some() {
            self.leave(Outcome::Retried).await;
        }
        Err(JobError::Snooze { after, reason })
    }

    /// Saves the text and releases the job to another worker, which continues from there.
    pub(crate) async fn release(self) -> Result<(), JobError> {
        self.leave(Outcome::Released).await;
        Err(JobError::Release)
    }

    async fn leave(&self, outcome: Outcome) {
        let (model, cost) = (self.model(), self.estimated_cost());
        self.writer.leave(outcome, model.as_ref(), cost.as_ref()).await;
    }

    /// The model that accepted the request.
    fn model(&self) -> Option<ModelRef> {
        Some(self.request.as_ref()?.call.report()?.model)
    }

    fn cost(&self, usage: Usage) -> AttemptCost {
        let model = self.model();
        AttemptCost {
            model: model.unwrap_or_else(|| self.context.ai.primary_model().clone()),
            usage,
            reasoning_tokens: Some(self.thought_tokens()).filter(|tokens| *tokens > 0),
        }
    }

    /// An estimate of the thoughts that were taken out of the text.
    fn thought_tokens(&self) -> i64 {
        let report = self.request.as_ref().and_then(|request| request.call.report());
        let bytes = report.map_or(0, |report| report.thought_bytes);
        i64::try_from(token_estimate::estimate(bytes)).unwrap_or(i64::MAX)
    }

    fn estimated_cost(&self) -> Option<AttemptCost> {
        self.estimate().map(|usage| self.cost(usage))
    }

    /// The usage of an attempt that ends early, if it has a cost: the tokens that the provider stated so far, else an estimate
    /// of the prompt; and at least an estimate of the text.
    fn estimate(&self) -> Option<Usage> {
        let request = self.request.as_ref()?;
        let (input, output) = request
            .call
            .report()
            .map_or((None, None), |report| (report.input_tokens, report.output_tokens));
        let count = |tokens: usize| i64::try_from(tokens).unwrap_or(i64::MAX);
        let written = token_estimate::estimate(self.writer.written_bytes());
        Some(Usage {
            input_tokens: input.unwrap_or(count(request.prompt_tokens)),
            // The stated number may be old, or include thoughts that are not shown.
            output_tokens: output
                .unwrap_or_default()
                .max(count(written).saturating_add(self.thought_tokens())),
            estimated: true,
        })
    }
}
