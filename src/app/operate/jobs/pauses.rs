//! Pausing queues: their jobs wait, what runs finishes. A pause stays until an operator resumes the queue.

use cura_queue::KnownKind;
use cura_store::StoreError;

use super::{Jobs, OperateJobsError, PausedQueue};
use crate::operate::Act;

impl Jobs {
    /// Pauses a queue; one that is paused gets this reason.
    ///
    /// # Errors
    /// [`OperateJobsError::UnknownQueue`].
    pub async fn pause(&self, queue: &str, reason: &str) -> Result<PausedQueue, OperateJobsError> {
        let kind = KnownKind::of_queue(queue).ok_or_else(|| OperateJobsError::UnknownQueue(queue.to_owned()))?;
        let (now, operator) = (self.acts.now(), self.acts.operator().as_str());
        let act = Act::new("jobs.pause").on(kind.queue).with("reason", reason);
        let paused = self.acts.transaction(act, async |connection, _| {
            let paused = async {
                cura_queue::pause(connection, kind.queue, reason, operator, now).await?;
                cura_queue::list_paused(connection).await
            };
            Ok::<_, StoreError>(paused.await?)
        });
        let paused = paused.await?;
        paused
            .into_iter()
            .find(|paused| paused.queue == kind.queue)
            .ok_or_else(|| OperateJobsError::NotPaused(queue.to_owned()))
    }

    /// Has workers claim the jobs of a queue again. A queue that has no handler any more can be resumed, too.
    ///
    /// # Errors
    /// [`OperateJobsError::NotPaused`].
    pub async fn resume(&self, queue: &str) -> Result<(), OperateJobsError> {
        let mut act = Act::new("jobs.resume");
        if let Some(kind) = KnownKind::of_queue(queue) {
            act.set_target(kind.queue);
        }
        let resumed = self.acts.transaction(act, async |connection, act| {
            let was_paused = cura_queue::resume(connection, queue).await.map_err(StoreError::from)?;
            if was_paused {
                act.set_target(queue);
                return Ok(());
            }
            Err(match KnownKind::of_queue(queue) {
                Some(_) => OperateJobsError::NotPaused(queue.to_owned()),
                None => OperateJobsError::UnknownQueue(queue.to_owned()),
            })
        });
        resumed.await
    }
}
