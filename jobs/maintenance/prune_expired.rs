//! Removes expired rows, and enqueues again what should have finished long ago: erasing users, purging conversations, and
//! failing answers whose job is gone, because it was discarded or because a backup lost it.
//!
//! May run twice, even at once: removing is idempotent, and the jobs of one period share one key.

use std::sync::Arc;

use chrono::TimeDelta;
use cura_domain::MessageId;
use cura_queue::{EraseUser, FailAbandonedAnswer, GenerateAnswer, Job, JobError, PruneExpired, PurgeConversation, Run};
use cura_store::answers;
use cura_store::expired::{self, BATCH, Expired};

use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;

/// After how long work that has not finished is enqueued again.
const OVERDUE: TimeDelta = TimeDelta::minutes(30);

pub(crate) async fn run(context: Arc<JobContext>, job: PruneExpired, _: Run) -> Result<(), JobError> {
    for kind in Expired::ALL {
        remove_expired(&context, kind).await?;
    }
    enqueue_overdue(&context, job.period).await?;
    fail_abandoned_answers(&context).await
}

async fn remove_expired(context: &JobContext, kind: Expired) -> Result<(), JobError> {
    let now = context.clock.now();
    let mut rows = 0;
    loop {
        let removed = context
            .database
            .connection(async |connection| kind.delete_expired(connection, now).await);
        let removed = removed.await.map_err(snooze_if_unavailable)?;
        rows += removed;
        if removed < BATCH {
            break;
        }
    }
    tracing::debug!(?kind, rows, "expired rows removed");
    Ok(())
}

async fn enqueue_overdue(context: &JobContext, round: i64) -> Result<(), JobError> {
    let since = context.clock.now() - OVERDUE;
    let overdue = context.database.connection(async |connection| {
        let users = expired::list_unerased(connection, since).await?;
        let conversations = expired::list_unpurged(connection, since).await?;
        Ok((users, conversations))
    });
    let (users, conversations) = overdue.await.map_err(snooze_if_unavailable)?;
    for user in users {
        let user_id = user.0;
        enqueue_again(context, &EraseUser { user_id, round }).await?;
    }
    for conversation in conversations {
        let conversation_id = conversation.0;
        enqueue_again(context, &PurgeConversation { conversation_id, round }).await?;
    }
    Ok(())
}

/// Fails answers that are not final and have no unfinished job.
async fn fail_abandoned_answers(context: &JobContext) -> Result<(), JobError> {
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
        "an erasure, purge or failed answer is overdue; enqueueing its job again"
    );
    let enqueued = context
        .database
        .connection(async |connection| Ok(cura_queue::enqueue(connection, job).await?));
    enqueued.await.map(drop).map_err(snooze_if_unavailable)
}
