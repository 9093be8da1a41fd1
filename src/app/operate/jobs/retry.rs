//! Retrying dead jobs: by their ids, or all of a queue, spread over a time so that what they need, which has just come back, is not
//! flooded.
//!
//! A job is either retried or untouched, whenever this ends, and the command can be given again: what is not dead any more is left alone.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use cura_answers::RetriedJob;
use cura_domain::FileId;
use cura_queue::{
    DeadJob, DeadJobs, ExportAccount, GenerateAnswer, Job, JobState, KnownKind, ScanUpload, count_dead, find_known,
    list_dead, retry_dead,
};
use cura_store::{PgConnection, StoreError, exports, scans};
use serde::Serialize;
use thiserror::Error;
use tokio::time::Instant;

use super::{Jobs, OperateJobsError};
use crate::operate::{Act, OperateError};

/// How many jobs are retried in one transaction. Each answer has a transaction of its own, in which its conversation is locked.
const BATCH: usize = 500;
/// The priority of jobs that are retried together: people who ask meanwhile come first, for the minutes that it takes to be aged.
const TOGETHER: i32 = -2;

/// Which dead jobs of a queue are retried.
#[derive(Debug, Clone)]
pub struct WhichDead {
    /// The queue.
    pub queue: String,
    /// Those that were made at this moment, or later.
    pub since: Option<DateTime<Utc>>,
    /// Those whose reason has this text in it.
    pub reason: Option<String>,
}

/// How many jobs were retried.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Retried {
    /// They run again.
    pub retried: u64,
    /// They stay dead, by why: stable words.
    pub refused: BTreeMap<&'static str, u64>,
}

/// Jobs that were retried before one could not be, and why not.
#[derive(Debug, Error)]
#[error("{error}")]
pub struct Interrupted {
    /// They stay retried.
    pub retried: Retried,
    /// What has failed.
    pub error: OperateJobsError,
}

impl Jobs {
    /// Retries a dead job: it is ready at once. Attempts that were spent stay spent, and it has as many more as its kind has.
    ///
    /// # Errors
    /// [`OperateJobsError`]; then nothing has changed.
    pub async fn retry(&self, id: &str) -> Result<(), OperateJobsError> {
        let found = async {
            let details = self.show(id).await?;
            let kind = KnownKind::of_queue(&details.job.queue)
                .ok_or_else(|| OperateJobsError::UnknownQueue(details.job.queue.clone()))?;
            match details.job.state {
                JobState::Dead => Ok((details, kind)),
                state => Err(OperateJobsError::not_dead(id.to_owned(), state)),
            }
        };
        let (details, kind) = match found.await {
            Ok(found) => found,
            Err(error) => return Err(self.refuse("jobs.retry", id, error).await),
        };
        let key = details.key.unwrap_or_default();
        if kind.queue == GenerateAnswer::QUEUE {
            let job = RetriedJob {
                id: id.to_owned(),
                after: Duration::ZERO,
                priority: 0,
                died_by: None,
            };
            return self.retry_answer(job, &key).await;
        }
        let job = DeadJob { id: id.to_owned(), key };
        let act = Act::new("jobs.retry").on(id).with("queue", kind.queue);
        let retried = self.acts.transaction(act, async |connection, _| {
            check(connection, kind.queue, &job).await?;
            let wanted = [(job.id.clone(), Duration::ZERO)];
            let retried = retry_dead(connection, &wanted, kind.max_attempts, 0, None).await;
            if !retried.map_err(StoreError::from)?.is_empty() {
                return Ok(());
            }
            // It was dead a moment ago.
            let found = find_known(connection, id).await.map_err(StoreError::from)?;
            Err(found.map_or_else(
                || OperateJobsError::NotFound(id.to_owned()),
                |details| OperateJobsError::not_dead(id.to_owned(), details.job.state),
            ))
        });
        retried.await
    }

    /// Retries all dead jobs of a queue that there are now, spread over `over`. `progress` is told how many were looked at, and of how
    /// many.
    ///
    /// # Errors
    /// [`Interrupted`]: what was retried before stays so.
    pub async fn retry_all(
        &self,
        which: &WhichDead,
        over: Duration,
        progress: impl Fn(u64, u64),
    ) -> Result<Retried, Interrupted> {
        let mut retried = Retried::default();
        match self.retry_each(which, over, progress, &mut retried).await {
            Ok(()) => Ok(retried),
            Err(error) => Err(Interrupted { retried, error }),
        }
    }

    async fn retry_each(
        &self,
        which: &WhichDead,
        over: Duration,
        progress: impl Fn(u64, u64),
        retried: &mut Retried,
    ) -> Result<(), OperateJobsError> {
        let kind =
            KnownKind::of_queue(&which.queue).ok_or_else(|| OperateJobsError::UnknownQueue(which.queue.clone()))?;
        let dead = DeadJobs {
            queue: kind.queue,
            since: which.since,
            reason: which.reason.as_deref(),
        };
        let database = self.acts.database();
        let counted = database.connection(async |connection| Ok::<_, StoreError>(count_dead(connection, &dead).await?));
        let counted = counted.await?;
        let Some(last) = counted.last else {
            return Ok(());
        };
        let pace = Pace::begin(over, u64::try_from(counted.count).unwrap_or_default());
        let (mut after, mut looked_at) = (String::new(), 0);
        loop {
            let batch = database.connection(async |connection| {
                let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
                Ok::<_, StoreError>(list_dead(connection, &dead, (&after, &last), limit).await?)
            });
            let batch = batch.await?;
            let Some(end) = batch.last() else {
                return Ok(());
            };
            after.clone_from(&end.id);
            if kind.queue == GenerateAnswer::QUEUE {
                for job in batch {
                    let wanted = RetriedJob {
                        id: job.id,
                        after: pace.delay(looked_at),
                        priority: TOGETHER,
                        died_by: Some(counted.at),
                    };
                    retried.count(self.retry_answer(wanted, &job.key).await)?;
                    looked_at += 1;
                    progress(looked_at, pace.jobs);
                }
            } else {
                let first = looked_at;
                looked_at += batch.len() as u64;
                self.retry_batch(kind, which, batch, (&pace, first), counted.at, retried)
                    .await?;
                progress(looked_at, pace.jobs);
            }
        }
    }

    /// Retries jobs of one queue in one transaction; `first` is the number of the first of them.
    async fn retry_batch(
        &self,
        kind: KnownKind,
        which: &WhichDead,
        batch: Vec<DeadJob>,
        (pace, first): (&Pace, u64),
        died_by: DateTime<Utc>,
        retried: &mut Retried,
    ) -> Result<(), OperateJobsError> {
        let act = Act::new("jobs.retry")
            .on(kind.queue)
            .with("since", which.since)
            // Free text, which may hold anything, has no place in the record.
            .with("by_reason", which.reason.is_some());
        let done = self.acts.transaction(act, async |connection, act| {
            let mut of_batch = Retried::default();
            let mut wanted = Vec::with_capacity(batch.len());
            for (number, job) in (first..).zip(batch) {
                match check(connection, kind.queue, &job).await {
                    Ok(()) => wanted.push((job.id, pace.delay(number))),
                    refused => of_batch.count(refused)?,
                }
            }
            let ready = retry_dead(connection, &wanted, kind.max_attempts, TOGETHER, Some(died_by)).await;
            let ready = ready.map_err(StoreError::from)?.len();
            of_batch.retried += ready as u64;
            let others = wanted.len() - ready;
            if others > 0 {
                // Another operator was faster.
                *of_batch.refused.entry("job_not_dead").or_default() += others as u64;
            }
            act.note("retried", of_batch.retried);
            act.note("refused", &of_batch.refused);
            Ok::<_, OperateJobsError>(of_batch)
        });
        retried.add(done.await?);
        Ok(())
    }
}

impl Retried {
    /// Counts a job that was retried, or is not for a reason of its own.
    ///
    /// # Errors
    /// That of the store, which is none of the job's.
    fn count(&mut self, outcome: Result<(), OperateJobsError>) -> Result<(), OperateJobsError> {
        match outcome {
            Ok(()) => self.retried += 1,
            Err(error @ OperateJobsError::Store(_)) => return Err(error),
            Err(refused) => *self.refused.entry(refused.code()).or_default() += 1,
        }
        Ok(())
    }

    fn add(&mut self, other: Self) {
        self.retried += other.retried;
        for (code, jobs) in other.refused {
            *self.refused.entry(code).or_default() += jobs;
        }
    }
}

/// Whether retrying this job makes sense: what it was to do is still wanted.
async fn check(connection: &mut PgConnection, queue: &str, job: &DeadJob) -> Result<(), OperateJobsError> {
    let number = |text: &str| text.parse::<i64>().ok();
    match queue {
        ScanUpload::QUEUE => {
            // The file and the round.
            let file = job
                .key
                .split('.')
                .next()
                .and_then(number)
                .map(FileId)
                .unwrap_or(FileId(0));
            let waits = scans::find_unscanned(connection, file).await?.is_some();
            waits.then_some(()).ok_or(OperateJobsError::FileNotScanning(file))
        }
        ExportAccount::QUEUE => {
            let export = number(&job.key).unwrap_or_default();
            let is_wanted = exports::find_pending(connection, export).await?.is_some();
            is_wanted.then_some(()).ok_or(OperateJobsError::ExportGone)
        }
        _ => Ok(()),
    }
}

/// When each of some jobs begins: one after the other, the last one at the end of a time.
struct Pace {
    begun: Instant,
    over: Duration,
    jobs: u64,
}

impl Pace {
    fn begin(over: Duration, jobs: u64) -> Self {
        Self {
            begun: Instant::now(),
            over,
            jobs: jobs.max(1),
        }
    }

    /// How long from now the job with this number, from 0, waits.
    fn delay(&self, number: u64) -> Duration {
        self.at(number).saturating_sub(self.begun.elapsed())
    }

    fn at(&self, number: u64) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "nobody counts so many jobs")]
        let share = number as f64 / self.jobs as f64;
        self.over.mul_f64(share.min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_spread_evenly_over_the_whole_time() {
        let pace = Pace::begin(Duration::from_secs(60), 10_000);
        let at = |number| pace.at(number).as_millis();
        assert_eq!([0, 500, 5000, 9999, 20_000].map(at), [0, 3000, 30_000, 59_994, 60_000]);
        let none = Pace::begin(Duration::from_secs(60), 0);
        assert_eq!(none.at(0), Duration::ZERO);
    }
}
