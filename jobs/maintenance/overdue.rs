//! Enqueues again what should have finished long ago: erasing users, purging conversations, scanning files, and failing answers whose job
//! is gone, because it was discarded or because a backup lost it.

use std::time::Duration;

use chrono::TimeDelta;
use cura_domain::{FileId, MessageId};
use cura_queue::{
    EnqueueOptions, EraseUser, FailAbandonedAnswer, GenerateAnswer, Job, JobError, PurgeConversation, ScanUpload,
};
use cura_store::{PgConnection, StoreError, answers, expired, scans};

use super::prune_expired::INTERVAL;
use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;

/// After how long work that has not finished is enqueued again.
const OVERDUE: TimeDelta = TimeDelta::minutes(30);
/// After how long a file that waits for its scan is looked for.
const SCAN_OVERDUE: Duration = Duration::from_secs(30 * 60);
/// How many of them are read at a time.
const SCANS_OF_A_PAGE: i64 = 200;

/// Enqueues the jobs of overdue erasures and purges that have none.
pub(super) async fn enqueue_erasures(context: &JobContext, period: i64) -> Result<(), JobError> {
    let since = context.clock.now() - OVERDUE;
    let overdue = context.database.connection(async |connection| {
        let users = expired::list_unerased(connection, since).await?;
        let conversations = expired::list_unpurged(connection, since).await?;
        Ok((users, conversations))
    });
    let (users, conversations) = overdue.await.map_err(snooze_if_unavailable)?;
    let rounds: Vec<i64> = (period - cura_queue::periods_of_a_day(INTERVAL)..=period)
        .chain([0])
        .collect();
    for user in users {
        let job = |round| EraseUser { user_id: user.0, round };
        let keys = rounds.iter().map(|round| job(*round).key()).collect();
        enqueue_unless_at_work(context, &job(period), keys).await?;
    }
    for conversation in conversations {
        let job = |round| PurgeConversation {
            conversation_id: conversation.0,
            round,
        };
        let keys = rounds.iter().map(|round| job(*round).key()).collect();
        enqueue_unless_at_work(context, &job(period), keys).await?;
    }
    Ok(())
}

/// Enqueues the jobs of files that wait for a scan and have none.
pub(super) async fn enqueue_scans(context: &JobContext, period: i64) -> Result<(), JobError> {
    let mut after = FileId(0);
    loop {
        let page = context
            .database
            .connection(async |connection| scans::list_overdue(connection, after, SCAN_OVERDUE, SCANS_OF_A_PAGE).await);
        let overdue = page.await.map_err(snooze_if_unavailable)?;
        let Some(last) = overdue.last() else {
            return Ok(());
        };
        after = *last;
        for file in overdue {
            let job = ScanUpload {
                file_id: file.0,
                round: period,
            };
            enqueue_unless_at_work(context, &job, ScanUpload::keys_at_work(file, period)).await?;
        }
    }
}

/// Enqueues a job, unless one with one of these keys is waiting or running: that one goes on where it was.
async fn enqueue_unless_at_work<J: Job>(context: &JobContext, job: &J, keys: Vec<String>) -> Result<(), JobError> {
    let at_work = context
        .database
        .connection(async |connection| is_at_work::<J>(connection, &keys).await);
    if at_work.await.map_err(snooze_if_unavailable)? {
        return Ok(());
    }
    enqueue_again(context, job).await
}

async fn is_at_work<J: Job>(connection: &mut PgConnection, keys: &[String]) -> Result<bool, StoreError> {
    Ok(!cura_queue::list_unfinished::<J>(connection, keys).await?.is_empty())
}

/// Fails answers that are not final and have no unfinished job.
pub(super) async fn fail_abandoned_answers(context: &JobContext) -> Result<(), JobError> {
    let since = context.clock.now() - OVERDUE;
    let mut after = MessageId(0);
    loop {
        let page = context.database.connection(async |connection| {
            let stale = answers::list_stale(connection, since, after).await?;
            let keys: Vec<String> = stale.iter().map(MessageId::to_string).collect();
            let unfinished = cura_queue::list_unfinished::<GenerateAnswer>(connection, &keys).await?;
            Ok((stale, unfinished))
        });
        let (stale, unfinished) = page.await.map_err(snooze_if_unavailable)?;
        let Some(last) = stale.last() else {
            return Ok(());
        };
        after = *last;
        for answer in stale {
            if !unfinished.contains(&answer.to_string()) {
                enqueue_again(context, &FailAbandonedAnswer { message_id: answer.0 }).await?;
            }
        }
    }
}

async fn enqueue_again<J: Job>(context: &JobContext, job: &J) -> Result<(), JobError> {
    tracing::warn!(
        queue = J::QUEUE,
        key = job.key(),
        "an erasure, purge, scan or failed answer is overdue; enqueueing its job again"
    );
    // An answer that was failed today and retried since may have to be failed again.
    let enqueued = context.database.connection(async |connection| {
        Ok(cura_queue::enqueue_or_renew(connection, job, EnqueueOptions::default()).await?)
    });
    enqueued.await.map(drop).map_err(snooze_if_unavailable)
}
