//! One attempt's writer and its call to a provider: what is asked, what it costs, and how the attempt ends.

use std::time::Duration;

use chrono::TimeDelta;
use cura_answers::{AnswerWriter, AttemptCost, Checkpoint, FollowUps, Outcome, StartedAttempt};
use cura_domain::message::{AnswerResult, FinishReason, Usage};
use cura_domain::paid_calls::CallsWithoutText;
use cura_domain::prompt::{Given, PromptMessage};
use cura_domain::{FileId, MessageId, ModelRef, UserId, token_estimate};
use cura_providers::ai::{AiError, Call, OpenCompletion, PaidCalls, Prompt, ProviderReport, RequestKey};
use cura_queue::{JobError, Run};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::noted_files::NotedFiles;
use super::prepare_attempt::PromptContext;
use super::prompt_files::FilesAway;
use super::write_failed;
use crate::context::JobContext;
use crate::words;

/// How long the person waits for files that cannot be had, from when the answer became eligible to start; then it is given without them.
const MAX_WAIT_FOR_FILES: TimeDelta = TimeDelta::seconds(60);

/// The same where part of the answer was shown.
const MAX_WAIT_TO_GO_ON: TimeDelta = TimeDelta::minutes(3);

/// An attempt at an answer, and the provider's work on it.
pub(crate) struct RunningAttempt<'a> {
    context: &'a JobContext,
    pub(crate) writer: AnswerWriter,
    run: Run,
    /// Who asked.
    user: UserId,
    /// The request, from just before it is sent; `None` again once the provider failed without accepting it.
    request: Option<Request>,
    /// What providers were paid for without bringing the answer further, and what of it is stored.
    paid: PaidCalls,
    stored: CallsWithoutText,
    /// What the model was given of files.
    noted_files: NotedFiles,
    /// What is being noted of a failover: before the attempt ends, so that its end is not overtaken.
    failover_note: Option<JoinHandle<()>>,
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
    /// The files of the prompt cannot be had now, and the person has not waited for long.
    Files(FilesAway),
}

impl<'a> RunningAttempt<'a> {
    pub(crate) fn new(context: &'a JobContext, id: MessageId, attempt: Box<StartedAttempt>, run: Run) -> Self {
        Self {
            context,
            user: attempt.user_id,
            paid: PaidCalls::new(attempt.calls_without_text.clone()),
            stored: attempt.calls_without_text.clone(),
            writer: context.answers.writer(id, attempt),
            request: None,
            noted_files: NotedFiles::default(),
            failover_note: None,
            run,
        }
    }

    /// Asks the provider while readers learn that the attempt begins. A prompt that a provider refuses for its length is shortened
    /// and sent again by the providers themselves.
    pub(crate) async fn open(&mut self, prompt_context: &PromptContext) -> Result<OpenCompletion, OpenError> {
        let (call, prompt) = self.assemble(prompt_context).await?;
        let (opened, ()) = tokio::join!(
            self.context.ai.open_completion(&call, prompt),
            self.writer.announce_start()
        );
        let opened = opened.map_err(OpenError::Provider)?;
        self.note_files();
        self.note_failover();
        Ok(opened)
    }

    /// How long the person waits on for files that cannot be had. A person who has seen part of an answer wants its rest to be of the
    /// same files.
    pub(crate) fn wait_left_for_files(&self) -> TimeDelta {
        let longest = if self.writer.text().is_empty() {
            MAX_WAIT_FOR_FILES
        } else {
            MAX_WAIT_TO_GO_ON
        };
        longest - self.writer.age()
    }

    /// Notes what the model was given of files.
    fn note_files(&mut self) {
        if let Some(request) = &self.request {
            let tokens = request.prompt_tokens();
            self.noted_files
                .begin(&self.context.database, &self.writer, request.call.files(), tokens);
        }
    }

    /// Begins to note, beside the stream, which providers failed before the one that answers.
    fn note_failover(&mut self) {
        let note = self.note(None);
        if note.is_empty() {
            return;
        }
        let noting = self.writer.noting(note);
        self.failover_note = Some(TaskTracker::new().spawn(noting));
    }

    async fn await_failover_note(&mut self) {
        if let Some(noting) = self.failover_note.take() {
            // A task that panicked has noted nothing, which nobody waits for.
            let _ = noting.await;
        }
    }

    /// What operators are told of this attempt: how each provider failed, and the reason of its end.
    fn note(&self, reason: Option<&str>) -> String {
        let failures = self.paid.failures();
        let of_providers = failures
            .iter()
            .map(|(model, error)| format!("{} {}: {error}", model.provider, model.model));
        let is_said = failures
            .iter()
            .any(|(_, error)| reason == Some(error.to_string().as_str()));
        let reason = reason.filter(|_| !is_said).map(str::to_owned);
        of_providers.chain(reason).collect::<Vec<_>>().join("; ")
    }

    /// A prompt of as many tokens as the model is known to take. From here on the attempt has a cost.
    async fn assemble(&mut self, prompt_context: &PromptContext) -> Result<(Call, Prompt), OpenError> {
        let budget = self.context.max_prompt_tokens(self.user);
        // The text written so far is part of what is sent.
        let written = token_estimate::estimate(self.writer.text().len());
        let room = budget.saturating_sub(written).max(budget / 4);
        let mut assembled = prompt_context
            .assemble(self.context, room)
            .await
            .map_err(OpenError::Job)?;
        let may_wait = self.wait_left_for_files() > TimeDelta::zero();
        let fetching = prompt_context.fetch_files(self.context, &mut assembled.messages, may_wait);
        let files = fetching.await.map_err(OpenError::Files)?;
        let given = files_given(&assembled.messages);
        let permission = words::permission_read(
            self.context,
            prompt_context.owner,
            given,
            Some(prompt_context.owner_asked_at),
        );
        let call =
            Call::for_person(RequestKey::Answer(self.writer.id()), self.user, permission).counted_with(&self.paid);
        self.request = Some(Request {
            call: call.clone(),
            prompt_tokens: assembled.tokens + written,
            summarize_up_to: assembled.summarize,
        });
        let prompt = Prompt {
            messages: assembled.messages,
            files,
            written: self.writer.text().to_owned(),
            max_output_tokens: self.context.assistant.max_output_tokens,
        };
        Ok((call, prompt))
    }

    /// Forgets a request that no provider accepted: it costs nothing.
    pub(crate) fn provider_failed(&mut self) {
        self.request.take_if(|request| request.call.report().is_none());
    }

    /// A checkpoint of the text so far, if it has grown.
    pub(crate) fn checkpoint(&self) -> Option<impl Future<Output = Checkpoint> + Send + use<>> {
        let thoughts = Some(self.thought_tokens()).filter(|tokens| *tokens > 0);
        self.writer.checkpoint(self.model(), thoughts)
    }

    /// Takes back what this attempt has written, and what the same model wrote in those before without ending a thought.
    ///
    /// # Errors
    /// As [`AnswerWriter::take_back`].
    pub(crate) async fn take_back(&mut self) -> Result<(), JobError> {
        let model = self.model();
        self.writer.take_back(model.as_ref()).await.map_err(write_failed)?;
        // It goes on under another fence.
        self.note_files();
        Ok(())
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
        let cost = self
            .cost(usage.or_else(|| self.estimate_last()))
            .map(|cost| AttemptCost {
                reasoning_tokens: reasoning_tokens.or(cost.reasoning_tokens),
                ..cost
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
        let cost = self.cost(self.estimate_last());
        self.finish(AnswerResult::Cancelled, cost, FollowUps::default()).await
    }

    /// Makes the answer an error, with the text so far; operators are told the reason.
    ///
    /// # Errors
    /// As [`Self::complete`].
    pub(crate) async fn fail(mut self, code: &str, reason: &str) -> Result<(), JobError> {
        self.await_failover_note().await;
        self.writer.noting(self.note(Some(reason))).await;
        let cost = self.cost(self.estimate_last());
        self.finish(AnswerResult::Failed(code), cost, FollowUps::default())
            .await
    }

    async fn finish(
        mut self,
        result: AnswerResult<'_>,
        cost: Option<AttemptCost>,
        follow_ups: FollowUps,
    ) -> Result<(), JobError> {
        self.await_failover_note().await;
        if !self.noted_files.are_noted().await {
            // Once more.
            self.note_files();
            self.noted_files.are_noted().await;
        }
        // One that fails its answer is to be kept with the reason, which the queue writes.
        let job = (!matches!(result, AnswerResult::Failed(_))).then(|| self.run.claimed());
        match self
            .writer
            .finish(result, cost.as_ref(), follow_ups, job.as_ref())
            .await
        {
            Ok(finished) => {
                if finished.job_is_completed() {
                    self.run.completed_by_handler();
                }
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
    pub(crate) async fn retry(mut self, after: Option<Duration>, reason: String) -> Result<(), JobError> {
        self.leave(Outcome::Retried, &reason).await;
        Err(JobError::Retry { after, reason })
    }

    /// Snoozes the job until a provider may be asked. If a provider accepted the request and failed, that has a cost.
    pub(crate) async fn snooze(mut self, after: Duration, reason: String) -> Result<(), JobError> {
        if self.request.is_some() {
            self.leave(Outcome::Retried, &reason).await;
        } else {
            self.writer.noting(self.note(Some(&reason))).await;
        }
        Err(JobError::Snooze { after, reason })
    }

    /// Saves the text and releases the job to another worker, which continues from there.
    pub(crate) async fn release(mut self) -> Result<(), JobError> {
        self.leave(Outcome::Released, "its worker stopped").await;
        Err(JobError::Release)
    }

    async fn leave(&mut self, outcome: Outcome, reason: &str) {
        self.await_failover_note().await;
        let (model, cost) = (self.model(), self.cost(self.estimate_last()));
        let note = self.note(Some(reason));
        let calls = Some(self.paid.to_store()).filter(|calls| *calls != self.stored);
        self.writer
            .leave((outcome, &note), model.as_ref(), cost.as_ref(), calls.as_ref())
            .await;
    }

    /// The model that accepted the request.
    fn model(&self) -> Option<ModelRef> {
        Some(self.request.as_ref()?.call.report()?.model)
    }

    /// What this attempt cost: `last`, the last request, and those before it. Billed to the model that was asked last.
    fn cost(&self, last: Option<Usage>) -> Option<AttemptCost> {
        let request = self.request.as_ref();
        let failed = request.and_then(|request| request.cost_of_failed());
        let usage = [failed, last].into_iter().flatten().reduce(sum)?;
        Some(AttemptCost {
            model: self.model().unwrap_or_else(|| self.context.ai.primary_model().clone()),
            usage,
            reasoning_tokens: Some(self.thought_tokens()).filter(|tokens| *tokens > 0),
        })
    }

    /// An estimate of the thoughts that were taken out of the text.
    fn thought_tokens(&self) -> i64 {
        let report = self.request.as_ref().and_then(|request| request.call.report());
        report.map_or(0, |report| thought_tokens(&report))
    }

    /// The usage of the last request that was accepted, if it ends early: the tokens that the provider stated so far, else an
    /// estimate of the prompt; and at least an estimate of the text.
    fn estimate_last(&self) -> Option<Usage> {
        let request = self.request.as_ref()?;
        let report = request.call.report();
        let written = token_estimate::estimate(self.writer.written_bytes());
        Some(request.estimate(report.as_ref(), written))
    }
}

impl Request {
    /// The tokens of the prompt, without what the model was not given beside its text.
    fn prompt_tokens(&self) -> usize {
        self.prompt_tokens.saturating_sub(self.call.tokens_left_out())
    }

    /// What the providers cost that accepted the request and failed, so that another one was asked.
    fn cost_of_failed(&self) -> Option<Usage> {
        let mut reports = self.call.reports();
        reports.pop();
        let costs = reports.iter().map(|report| self.estimate(Some(report), 0));
        costs.reduce(sum)
    }

    fn estimate(&self, report: Option<&ProviderReport>, written_tokens: usize) -> Usage {
        let count = |tokens: usize| i64::try_from(tokens).unwrap_or(i64::MAX);
        let input = report.and_then(|report| report.input_tokens);
        let output = report.and_then(|report| report.output_tokens);
        let thoughts = report.map_or(0, thought_tokens);
        Usage {
            input_tokens: input.unwrap_or(count(self.prompt_tokens())),
            // The stated number may be old, or include thoughts that are not shown.
            output_tokens: output
                .unwrap_or_default()
                .max(count(written_tokens).saturating_add(thoughts)),
            estimated: true,
        }
    }
}

/// The files whose content a prompt has.
fn files_given(messages: &[PromptMessage]) -> Vec<FileId> {
    let files = messages.iter().flat_map(|message| &message.files);
    let given = files.filter(|file| !matches!(file.given, Given::Line(_)));
    given.map(|file| file.file.id).collect()
}

fn thought_tokens(report: &ProviderReport) -> i64 {
    i64::try_from(token_estimate::estimate(report.thought_bytes)).unwrap_or(i64::MAX)
}

fn sum(one: Usage, other: Usage) -> Usage {
    Usage {
        input_tokens: one.input_tokens.saturating_add(other.input_tokens),
        output_tokens: one.output_tokens.saturating_add(other.output_tokens),
        estimated: one.estimated || other.estimated,
    }
}
