//! The end that most answers have: by the attempt that wrote it, while no other answer of the person waits. All that
//! [`Finishing`](crate::Finishing) writes, and the end of the job, in one statement.

use cura_domain::{ConversationId, MessageId, UserId};
use cura_queue::{Claimed, JobOwner, NewJob};
use cura_store::answers::{self, ClaimedRow, EndAlone, EndedAlone, NewRow};
use cura_store::{PgConnection, StoreError};

use crate::finish::{Ending, Finished};
use crate::{Answers, FollowUps, Outcome, WriteError};

/// An end that may be written by itself.
pub(crate) struct Alone<'a> {
    user: UserId,
    conversation: ConversationId,
    message: MessageId,
    ending: &'a Ending<'a>,
    job: &'a Claimed,
    title: Option<NewRow>,
    push: Option<NewRow>,
}

impl<'a> Alone<'a> {
    /// `None` when more follows from this end than can be written with it: that a conversation is summarized.
    pub(crate) fn new(
        (user, conversation, message): (UserId, ConversationId, MessageId),
        ending: &'a Ending<'a>,
        job: &'a Claimed,
    ) -> Result<Option<Self>, StoreError> {
        let completed = ending.outcome() == Outcome::Completed;
        let follow_ups = if completed {
            ending.follow_ups
        } else {
            FollowUps::default()
        };
        if follow_ups.summarize_up_to.is_some() {
            return Ok(None);
        }
        let owner = JobOwner::conversation(user, conversation);
        let title = follow_ups.title_job(owner);
        let title = title.map(|(job, options)| NewJob::new(&job, options)).transpose()?;
        let push = ending.push.map(|push| push.job(owner));
        let push = push.map(|(job, options)| NewJob::new(&job, options)).transpose()?;
        Ok(Some(Self {
            user,
            conversation,
            message,
            ending,
            job,
            title: title.map(row_of),
            push: push.map(row_of),
        }))
    }

    /// Writes the end on a connection that is in no transaction. `None` when other answers of the person wait, which may have to
    /// start with it; then nothing is written. May be repeated when its outcome is unknown.
    ///
    /// # Errors
    /// [`WriteError::Superseded`] when the answer is final, the attempt's fence is old, or the user is being erased.
    pub(crate) async fn write(
        &self,
        answers: &Answers,
        connection: &mut PgConnection,
    ) -> Result<Option<Finished>, WriteError> {
        let end = EndAlone {
            user: self.user,
            conversation: self.conversation,
            message: self.message,
            fence: self.ending.fence,
            answer: self.ending.answer(),
            outcome: self.ending.outcome(),
            job: ClaimedRow {
                id: &self.job.job_id,
                lock_by: &self.job.instance_id,
                attempt: self.job.attempt,
            },
            title: self.title.as_ref(),
            push: self.push.as_ref(),
        };
        match answers::finish_alone(connection, &end, answers.0.clock.now()).await? {
            EndedAlone::Ended { seq, acknowledged } => Ok(Some(Finished {
                user: self.user,
                seq: Some(seq),
                ended: vec![(self.message, self.ending.fence)],
                job_is_completed: acknowledged,
            })),
            EndedAlone::OthersWait => Ok(None),
            EndedAlone::Superseded => Err(WriteError::Superseded),
        }
    }
}

fn row_of(job: NewJob) -> NewRow {
    NewRow {
        id: job.id,
        queue: job.queue,
        payload: job.payload,
        max_attempts: job.max_attempts,
        delay: job.after.as_secs_f64(),
        key: job.key,
        metadata: job.metadata,
    }
}
