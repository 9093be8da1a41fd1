//! Jobs, for operators: how many there are, what is known of one, retrying and cancelling them, and pausing their queues. Payloads hold
//! ids only, so nobody's words are read.

mod answers;
mod cancel;
mod error;
mod pauses;
mod prune;
mod retry;

use cura_answers::Answers;
use cura_live::Live;
use cura_store::StoreError;

pub use cancel::CancelledJob;
pub use cura_queue::{
    JobDetails, JobState, KNOWN_KINDS, KnownJob, KnownJobs, KnownWorker, PausedQueue, QueueStats, RunningJobs,
};
pub use error::OperateJobsError;
pub use prune::{Pruned, WhichOver};
pub use retry::{Interrupted, Retried, WhichDead};

use super::{Act, Acts, OperateError as _};
use crate::chat::Quota;

/// The length of the id of a job: a ULID.
const JOB_ID_CHARS: usize = 26;

/// The use cases of operators. Cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    acts: Acts,
    /// Where people's connections learn of events at once; without it they do when they next look.
    live: Option<Live>,
    answers: Answers,
    quota: Quota,
}

impl Jobs {
    /// Puts the parts together.
    pub const fn new(acts: Acts, live: Option<Live>, answers: Answers, quota: Quota) -> Self {
        Self {
            acts,
            live,
            answers,
            quota,
        }
    }

    /// Every queue that has jobs or is paused.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn stats(&self) -> Result<Vec<QueueStats>, StoreError> {
        let stats = self
            .acts
            .database()
            .connection(async |connection| Ok::<_, StoreError>(cura_queue::stats(connection).await?));
        stats.await
    }

    /// At most `limit` jobs, newest first, and whether there are more.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list(&self, which: &KnownJobs, limit: u32) -> Result<(Vec<KnownJob>, bool), StoreError> {
        let listed = self.acts.database().connection(async |connection| {
            Ok::<_, StoreError>(cura_queue::list_known(connection, which, i64::from(limit) + 1).await?)
        });
        Ok(page_of(listed.await?, limit))
    }

    /// At most `limit` worker processes, the one that started last first, and whether there are more; those before `before`.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn workers(&self, before: Option<&str>, limit: u32) -> Result<(Vec<KnownWorker>, bool), StoreError> {
        let listed = self.acts.database().connection(async |connection| {
            Ok::<_, StoreError>(cura_queue::list_workers(connection, before, i64::from(limit) + 1).await?)
        });
        Ok(page_of(listed.await?, limit))
    }

    /// Records that nothing was done with a job, and gives back why. An id that is none names nothing in the record.
    async fn refuse(&self, action: &'static str, id: &str, error: OperateJobsError) -> OperateJobsError {
        let mut act = Act::new(action);
        if id.len() == JOB_ID_CHARS && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            act.set_target(id);
        }
        self.acts.failed(act, error.code()).await;
        error
    }

    /// All that is known of a job.
    ///
    /// # Errors
    /// [`OperateJobsError::NotFound`].
    pub async fn show(&self, id: &str) -> Result<JobDetails, OperateJobsError> {
        let found = self
            .acts
            .database()
            .connection(async |connection| Ok::<_, StoreError>(cura_queue::find_known(connection, id).await?));
        found.await?.ok_or_else(|| OperateJobsError::NotFound(id.to_owned()))
    }
}

/// The first `limit` items, and whether there are more.
fn page_of<T>(mut items: Vec<T>, limit: u32) -> (Vec<T>, bool) {
    let limit = limit as usize;
    let has_more = items.len() > limit;
    items.truncate(limit);
    (items, has_more)
}
