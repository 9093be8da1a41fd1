//! Dead jobs of answers: retrying one makes its answer unfinished again, within the limits of its person, as if they had asked just now.

use cura_answers::{RetriedJob, Retrying};
use cura_domain::{MessageId, UserId};
use cura_queue::{GenerateAnswer, Job};
use cura_store::{StoreError, owners};

use super::{Jobs, OperateJobsError};
use crate::operate::Act;

impl Jobs {
    /// Retries a dead job and its answer, in one transaction; `key` is the job's.
    pub(super) async fn retry_answer(&self, job: RetriedJob, key: &str) -> Result<(), OperateJobsError> {
        let message = key.parse().map(MessageId);
        let message = message.map_err(|_| OperateJobsError::NotFound(job.id.clone()))?;
        let act = Act::new("jobs.retry")
            .on(&job.id)
            .with("queue", GenerateAnswer::QUEUE)
            .with("message_id", message);
        let retried = self.acts.transaction(act, async |connection, _| {
            let owner = owners::find_of_message(connection, message).await?;
            let owner = owner.ok_or(cura_answers::RetryError::ConversationGone)?;
            let held = match self.quota.hold(connection, owner.user()).await {
                Err(StoreError::UserGone) => return Err(OperateJobsError::UserErased),
                held => held?,
            };
            let retrying = Retrying::lock(connection, held, owner.conversation(), message).await?;
            let mut reserved = retrying.reserved_tokens;
            if retrying.has_failed() {
                let now = self.acts.now();
                if !self.quota.has_room(connection, owner.user(), now).await? {
                    return Err(OperateJobsError::TooManyGenerations);
                }
                let fitting = self.quota.reserve_again(connection, owner.user(), reserved, now);
                reserved = fitting.await?.ok_or(OperateJobsError::QuotaExceeded)?;
            }
            let seq = retrying.retry(connection, &job, reserved, &self.answers).await?;
            Ok((owner.user(), seq))
        });
        let (user, seq) = retried.await?;
        self.publish(user, seq).await;
        Ok(())
    }

    /// Lets connections learn of an event at once.
    async fn publish(&self, user: UserId, seq: Option<i64>) {
        if let (Some(live), Some(seq)) = (&self.live, seq) {
            live.publish_event(user, seq).await;
        }
    }
}
