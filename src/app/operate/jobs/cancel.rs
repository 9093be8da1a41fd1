//! Cancelling a job. That of an answer is its person's own cancel. Of another, the on-failure job is enqueued: somebody may wait for it.

use std::time::Duration;

use cura_answers::{CancelMode, CancelOutcome, Finished};
use cura_domain::MessageId;
use cura_queue::{Cancelled, GenerateAnswer, Job, JobDetails, JobId, JobState};
use cura_store::{PgConnection, StoreError, conversations, owners, users};
use serde::Serialize;
use tokio::time::Instant;

use super::{Jobs, OperateJobsError};
use crate::operate::Act;

/// How long the run of a cancelled job may take to end before this is said, or its answer ends without it.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(3);
/// How often it is looked whether it has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// A job that was cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CancelledJob {
    /// The job.
    pub id: JobId,
    /// Where it stands now: `running` if its run does not stop for that; it ends as cancelled then, unless that run completes it.
    pub state: JobState,
    /// The answer that has ended with what was shown of it, if it was a job of one.
    pub message_id: Option<MessageId>,
}

/// What the transaction has done.
enum Done {
    /// The job never starts, or its run is signalled.
    Job(Cancelled),
    /// The answer has ended, or its worker is signalled.
    Answer(CancelOutcome, Finished),
}

impl Jobs {
    /// Cancels a job.
    ///
    /// # Errors
    /// [`OperateJobsError`]; then nothing has changed.
    pub async fn cancel(&self, id: &str) -> Result<CancelledJob, OperateJobsError> {
        let details = match self.show(id).await {
            Ok(details) => details,
            Err(error) => return Err(self.refuse("jobs.cancel", id, error).await),
        };
        let answer = answer_of(&details);
        let is_signalled = self.cancel_with(id, answer, CancelMode::Signal).await?;
        if is_signalled && !self.is_over_soon(id).await? && answer.is_some() {
            self.cancel_with(id, answer, CancelMode::Force).await?;
        }
        Ok(CancelledJob {
            id: id.to_owned(),
            state: self.show(id).await?.job.state,
            message_id: answer,
        })
    }

    /// Cancels a job in a transaction of its own; gives whether a run is signalled that has to end.
    async fn cancel_with(
        &self,
        id: &str,
        answer: Option<MessageId>,
        mode: CancelMode,
    ) -> Result<bool, OperateJobsError> {
        let mut act = Act::new("jobs.cancel").on(id);
        if let Some(answer) = answer {
            act.note("message_id", answer);
        }
        if mode == CancelMode::Force {
            act.note("forced", true);
        }
        let done = self.acts.transaction(act, async |connection, _| {
            if let Some(answer) = answer
                && let Some(done) = self.cancel_answer(connection, answer, mode).await?
            {
                return Ok(done);
            }
            let cancelled = cura_queue::cancel_job(connection, &id.to_owned()).await;
            match cancelled.map_err(StoreError::from)? {
                // The run has ended meanwhile.
                Cancelled::TooLate if mode == CancelMode::Force => Ok(Done::Job(Cancelled::TooLate)),
                Cancelled::TooLate => Err(OperateJobsError::Over(id.to_owned())),
                cancelled => Ok(Done::Job(cancelled)),
            }
        });
        match done.await? {
            Done::Job(cancelled) => Ok(cancelled == Cancelled::Signalled),
            Done::Answer(outcome, finished) => {
                if let Some(live) = &self.live {
                    finished.publish(live).await;
                }
                Ok(outcome == CancelOutcome::Signalled)
            }
        }
    }

    /// Cancels an answer as its person does. `None` if it is final or gone: then its job is one like others.
    async fn cancel_answer(
        &self,
        connection: &mut PgConnection,
        answer: MessageId,
        mode: CancelMode,
    ) -> Result<Option<Done>, StoreError> {
        let Some(owner) = owners::find_of_message(connection, answer).await? else {
            return Ok(None);
        };
        let Some(held) = users::hold(connection, owner.user()).await? else {
            return Ok(None);
        };
        if conversations::lock_owned(connection, owner.user(), owner.conversation())
            .await?
            .is_none()
        {
            return Ok(None);
        }
        let mut finishing = self
            .answers
            .finishing(connection, held, owner.conversation(), self.acts.now());
        let outcome = finishing.cancel(&[answer], mode).await?.first().copied();
        let finished = finishing.close(Vec::new()).await?;
        Ok(match outcome {
            None | Some(CancelOutcome::AlreadyFinal) => None,
            Some(outcome) => Some(Done::Answer(outcome, finished)),
        })
    }

    /// Whether a run that was signalled ends in a moment.
    async fn is_over_soon(&self, id: &str) -> Result<bool, OperateJobsError> {
        let until = Instant::now() + SIGNAL_TIMEOUT;
        loop {
            let state = self.show(id).await?.job.state;
            if matches!(state, JobState::Done | JobState::Dead | JobState::Cancelled) {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

/// The answer that a job makes.
fn answer_of(details: &JobDetails) -> Option<MessageId> {
    let is_answer = details.job.queue == GenerateAnswer::QUEUE;
    let key = details.key.as_deref().filter(|_| is_answer)?;
    key.parse().ok()
}
