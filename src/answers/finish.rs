//! Making answers final: the one transaction in which an answer ends, and what is published after it. Where nobody waits,
//! [`finish_alone`](crate::finish_alone) writes the same in one statement: change both.

use chrono::{DateTime, Utc};
use cura_domain::answer::Fence;
use cura_domain::event::Event;
use cura_domain::message::AnswerResult;
use cura_domain::{ConversationId, MessageId, UserId};
use cura_live::Live;
use cura_queue::JobOwner;
use cura_store::answers::FinalAnswer;
use cura_store::attempts::{Attempt, LostAttempt};
use cura_store::conversations::TouchedConversation;
use cura_store::users::HeldUser;
use cura_store::{PgConnection, StoreError, answers, attempts, conversations, devices, events, usage, users};

use crate::follow_ups::{FollowUps, PushOfEnd, make_waiting_answers_ready};
use crate::{Answers, AttemptCost, Outcome, WriteError};

/// How an attempt finishes its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending<'a> {
    pub(crate) fence: Fence,
    pub(crate) result: AnswerResult<'a>,
    /// The whole text.
    pub(crate) text: &'a str,
    /// What this attempt cost, if it cost anything.
    pub(crate) cost: Option<&'a AttemptCost>,
    /// From the question stored to the first text, in milliseconds.
    pub(crate) ttft_ms: Option<i64>,
    pub(crate) follow_ups: FollowUps,
    /// How the end is pushed, if it is.
    pub(crate) push: Option<PushOfEnd>,
}

impl<'a> Ending<'a> {
    /// What is written into the answer.
    pub(crate) fn answer(&self) -> FinalAnswer<'a> {
        FinalAnswer {
            result: self.result,
            text: Some(self.text),
            model: self.cost.map(|cost| &cost.model),
            usage: self.cost.map(|cost| cost.usage),
            reasoning_tokens: self.cost.and_then(|cost| cost.reasoning_tokens),
            ttft_ms: self.ttft_ms,
        }
    }

    /// How the attempt ends.
    pub(crate) const fn outcome(&self) -> Outcome {
        match self.result {
            AnswerResult::Completed(_) => Outcome::Completed,
            AnswerResult::Cancelled => Outcome::Cancelled,
            AnswerResult::Failed(_) => Outcome::Failed,
        }
    }
}

/// An attempt that ended its answer, to be counted.
struct EndedAttempt {
    message: MessageId,
    fence: Fence,
    outcome: Outcome,
    cost: AttemptCost,
    ttft_ms: Option<i64>,
}

/// Makes answers of one conversation final, in a transaction of the caller. Locks in the order that the crate describes. Must be
/// closed before the transaction commits; others see the ends once it has.
#[must_use = "an answer that ends without `close` has no usage, no events, and nothing that follows from it"]
pub struct Finishing<'c> {
    pub(crate) answers: Answers,
    pub(crate) connection: &'c mut PgConnection,
    pub(crate) user: UserId,
    conversation: ConversationId,
    pub(crate) now: DateTime<Utc>,
    ended: Vec<(MessageId, Fence)>,
    others_wait: bool,
    follow_ups: FollowUps,
    pushes: Vec<PushOfEnd>,
    /// The conversation, once its last change was recorded.
    touched: Option<TouchedConversation>,
    attempts: Vec<EndedAttempt>,
    lost: Vec<LostAttempt>,
}

impl Answers {
    /// Locks the user, and the conversation by recording that it changed at `now`.
    ///
    /// # Errors
    /// [`WriteError::Superseded`] when the user is being erased: there is nothing to write any more.
    pub(crate) async fn lock<'c>(
        &self,
        connection: &'c mut PgConnection,
        user: UserId,
        conversation: ConversationId,
        now: DateTime<Utc>,
    ) -> Result<Finishing<'c>, WriteError> {
        let held = users::hold(connection, user).await?.ok_or(WriteError::Superseded)?;
        let touched = conversations::touch(connection, conversation, now).await?;
        let mut finishing = self.finishing(connection, held, conversation, now);
        finishing.touched = Some(touched);
        Ok(finishing)
    }

    /// Begins to make answers of a conversation final. The caller's transaction has locked or inserted that conversation,
    /// after it held the user.
    pub fn finishing<'c>(
        &self,
        connection: &'c mut PgConnection,
        user: HeldUser,
        conversation: ConversationId,
        now: DateTime<Utc>,
    ) -> Finishing<'c> {
        Finishing {
            answers: self.clone(),
            connection,
            user: user.id(),
            conversation,
            now,
            ended: Vec::new(),
            others_wait: false,
            follow_ups: FollowUps::default(),
            pushes: Vec::new(),
            touched: None,
            attempts: Vec::new(),
            lost: Vec::new(),
        }
    }
}

impl Finishing<'_> {
    /// The transaction, to write messages and jobs beside the answers that end.
    pub fn connection(&mut self) -> &mut PgConnection {
        self.connection
    }

    /// The answers that this transaction has made final.
    fn ended(&self) -> impl ExactSizeIterator<Item = MessageId> + '_ {
        self.ended.iter().map(|(answer, _)| *answer)
    }

    /// Ends an answer by the attempt that wrote it.
    ///
    /// # Errors
    /// [`WriteError::Superseded`] when the answer is final or the attempt's fence is old; then the transaction is to be
    /// rolled back.
    pub(crate) async fn end(&mut self, id: MessageId, ending: &Ending<'_>) -> Result<(), WriteError> {
        if !self.write(id, Some(ending.fence), &ending.answer()).await? {
            return Err(WriteError::Superseded);
        }
        if ending.outcome() == Outcome::Completed {
            self.follow_ups = ending.follow_ups;
        }
        self.push(ending.push);
        if let Some(cost) = ending.cost {
            self.attempts.push(EndedAttempt {
                message: id,
                fence: ending.fence,
                outcome: ending.outcome(),
                cost: cost.clone(),
                ttft_ms: ending.ttft_ms,
            });
        }
        Ok(())
    }

    /// Ends an answer whose row is locked and that no worker finishes; `text` is all that readers were shown. The attempt
    /// `fence` is counted as lost. `false` when the answer is final.
    pub(crate) async fn end_without_writer(
        &mut self,
        id: MessageId,
        fence: Fence,
        result: AnswerResult<'_>,
        text: &str,
    ) -> Result<bool, StoreError> {
        // Before the answer ends, because its usage is the sum of its attempts.
        let model = &self.answers.0.default_model;
        let lost = attempts::record_lost(self.connection, id, fence, text.len(), model, self.now).await?;
        self.lost.extend(lost);
        let answer = FinalAnswer {
            text: Some(text),
            ..FinalAnswer::new(result)
        };
        self.write(id, None, &answer).await
    }

    /// Has an end pushed.
    pub(crate) fn push(&mut self, end: Option<PushOfEnd>) {
        self.pushes.extend(end);
    }

    async fn write(
        &mut self,
        id: MessageId,
        fence: Option<Fence>,
        answer: &FinalAnswer<'_>,
    ) -> Result<bool, StoreError> {
        let Some(finished) = answers::finish(self.connection, id, fence, answer, self.now).await? else {
            return Ok(false);
        };
        // An end without a fence overrules its worker: no later write of any attempt that has begun is shown.
        self.ended.push((id, finished.fence));
        self.others_wait |= finished.others_wait;
        Ok(true)
    }

    /// Lets answers of the user that waited for those that have ended start. Done by [`Self::close`]; a caller that adds an
    /// answer to the conversation does it before, so that the new answer is not among them.
    pub async fn make_waiting_answers_ready(&mut self) -> Result<(), StoreError> {
        if std::mem::take(&mut self.others_wait) {
            let max_running = self.answers.0.running_answers;
            make_waiting_answers_ready(self.connection, self.user, max_running).await?;
        }
        Ok(())
    }

    /// Writes what follows from the ends: answers that waited may start, follow-up jobs, usage, and the events, to which
    /// `also` is added. The events are the last lock of the transaction.
    pub async fn close(mut self, also: Vec<Event>) -> Result<Finished, StoreError> {
        let mut happened = Vec::new();
        if !self.ended.is_empty() {
            let touched = match self.touched {
                Some(touched) => touched,
                None => conversations::touch(self.connection, self.conversation, self.now).await?,
            };
            self.make_waiting_answers_ready().await?;
            if !touched.deleted {
                let owner = JobOwner::conversation(self.user, self.conversation);
                self.follow_ups
                    .enqueue(self.connection, owner, touched.title_is_excerpt)
                    .await?;
                if !self.pushes.is_empty() && devices::has_active(self.connection, self.user).await? {
                    for end in &self.pushes {
                        let (job, options) = end.job(owner);
                        cura_queue::enqueue_with(self.connection, &job, options).await?;
                    }
                }
            }
            let ended: Vec<MessageId> = self.ended().collect();
            happened = Event::ends(self.conversation, &ended);
        }
        self.count().await?;
        happened.extend(also);
        let seq = if happened.is_empty() {
            None
        } else {
            Some(events::append(self.connection, self.user, &happened, self.now).await?)
        };
        Ok(Finished {
            user: self.user,
            seq,
            ended: self.ended,
            job_is_completed: false,
        })
    }

    async fn count(&mut self) -> Result<(), StoreError> {
        for ended in &self.attempts {
            let attempt = Attempt {
                message: ended.message,
                user: self.user,
                fence: ended.fence,
                outcome: ended.outcome,
                model: &ended.cost.model,
                usage: ended.cost.usage,
                reasoning_tokens: ended.cost.reasoning_tokens,
                ttft_ms: ended.ttft_ms,
            };
            attempts::record(self.connection, &attempt, self.now).await?;
        }
        // The usage rows of a day are locked in the order of their models.
        self.lost.sort_by(|a, b| a.model.cmp(&b.model));
        for lost in &self.lost {
            usage::add(self.connection, lost.user, &lost.model, 0, &lost.usage, self.now).await?;
        }
        Ok(())
    }
}

/// What became true in a transaction that made answers final: to be published once it has committed.
#[derive(Debug)]
#[must_use = "readers wait until they ask Postgres, unless the end is published"]
pub struct Finished {
    pub(crate) user: UserId,
    /// The number of the last event.
    pub(crate) seq: Option<i64>,
    pub(crate) ended: Vec<(MessageId, Fence)>,
    pub(crate) job_is_completed: bool,
}

impl Finished {
    /// Whether the same transaction has completed the job of the attempt that ended its answer.
    pub fn job_is_completed(&self) -> bool {
        self.job_is_completed
    }

    /// Notifies readers of the answers and the user's connections. Readers that miss it find out from Postgres.
    pub async fn publish(&self, live: &Live) {
        let logged = async {
            if let Some(seq) = self.seq {
                live.publish_event(self.user, seq).await;
            }
        };
        tokio::join!(live.publish_ends(&self.ended), logged);
    }
}
