//! Cancelling answers: the request is stored before the worker is signalled, so an attempt that begins later sees it.

use cura_domain::answer::Fence;
use cura_domain::message::{AnswerResult, MessageStatus};
use cura_domain::{ConversationId, MessageId, UserId};
use cura_queue::{Cancelled, GenerateAnswer, JobOwner};
use cura_store::{PgConnection, StoreError, answers, conversations, messages, users};

use crate::Answers;
use crate::finish::Finishing;
use crate::shown_text::shown_text;

/// What happens to an answer that a worker is writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelMode {
    /// Its worker is signalled when the transaction commits, and finishes it.
    Signal,
    /// It becomes final, whatever its worker does; the worker's later writes change nothing.
    Force,
}

/// What cancelling did to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The answer was final before, or is not the user's.
    AlreadyFinal,
    /// The answer is final, with the text that readers were shown.
    Ended,
    /// The answer's worker is signalled when the transaction commits.
    Signalled,
}

impl Answers {
    /// Cancels an answer of `user` in a transaction of its own, and publishes its end. `None` when the conversation is
    /// deleted or not the user's.
    pub async fn cancel(
        &self,
        user: UserId,
        conversation: ConversationId,
        id: MessageId,
        mode: CancelMode,
    ) -> Result<Option<CancelOutcome>, StoreError> {
        let cancelled = self.0.database.transaction(async |connection| {
            let now = self.0.clock.now();
            let Some(held) = users::hold(connection, user).await? else {
                return Ok(None);
            };
            if conversations::lock_owned(connection, user, conversation)
                .await?
                .is_none()
            {
                return Ok(None);
            }
            let mut finishing = self.finishing(connection, held, conversation, now);
            let outcome = finishing.cancel(&[id], mode).await?;
            Ok::<_, StoreError>(Some((outcome, finishing.close(Vec::new()).await?)))
        });
        let Some((outcome, finished)) = cancelled.await? else {
            return Ok(None);
        };
        finished.publish(&self.0.live).await;
        Ok(outcome.first().copied())
    }
}

/// Cancels every job that works with the words of `owner`, in the transaction that deletes the words, which has locked their
/// user and conversation. `answers` are the unfinished ones, by ascending id.
pub async fn cancel_all_jobs(
    connection: &mut PgConnection,
    owner: JobOwner,
    answers: &[MessageId],
) -> Result<(), StoreError> {
    cura_queue::cancel_jobs_of(connection, owner).await?;
    // Those that were enqueued before jobs knew their owner.
    cancel_jobs(connection, answers).await
}

/// Cancels the jobs of answers that are being deleted, given by ascending id: waiting ones never start, running ones are
/// signalled when the transaction commits. The answers stay as they are.
pub async fn cancel_jobs(connection: &mut PgConnection, answers: &[MessageId]) -> Result<(), StoreError> {
    for answer in answers {
        cura_queue::cancel::<GenerateAnswer>(connection, &answer.to_string()).await?;
    }
    Ok(())
}

impl Finishing<'_> {
    /// Cancels answers of the conversation, given by ascending id. The outcomes are in the same order.
    pub async fn cancel(&mut self, ids: &[MessageId], mode: CancelMode) -> Result<Vec<CancelOutcome>, StoreError> {
        let mut requested = Vec::with_capacity(ids.len());
        for id in ids {
            let locked = answers::request_cancel(self.connection, self.user, *id, self.now).await?;
            let unfinished = locked.filter(|answer| answer.status == MessageStatus::Sending);
            requested.push((*id, unfinished.map(|answer| answer.fence)));
        }
        let mut outcomes = Vec::with_capacity(ids.len());
        for (id, fence) in requested {
            outcomes.push(match fence {
                Some(fence) => self.cancel_unfinished(id, fence, mode).await?,
                None => CancelOutcome::AlreadyFinal,
            });
        }
        Ok(outcomes)
    }

    async fn cancel_unfinished(
        &mut self,
        id: MessageId,
        fence: Fence,
        mode: CancelMode,
    ) -> Result<CancelOutcome, StoreError> {
        let cancelled = cura_queue::cancel::<GenerateAnswer>(self.connection, &id.to_string()).await?;
        if cancelled == Cancelled::Signalled && mode == CancelMode::Signal {
            return Ok(CancelOutcome::Signalled);
        }
        let text = if fence == Fence::default() {
            String::new()
        } else {
            let saved = messages::saved_text(self.connection, id).await?;
            shown_text(&self.answers.0.live, id, fence, saved).await
        };
        self.end_without_writer(id, fence, AnswerResult::Cancelled, &text)
            .await?;
        Ok(CancelOutcome::Ended)
    }
}
