//! Forgets what has had its time: tickets, idempotency keys, ended sessions, archives, old events. And asks again for what
//! should have been erased or purged by now, and closes answers nobody will finish: whose job died, or was lost with a
//! backup.
//!
//! May run twice, even at once: what is gone is gone, and the jobs of one period have one key.

use chrono::TimeDelta;
use cura_domain::MessageId;
use cura_queue::{EraseUser, FailAbandonedAnswer, GenerateAnswer, Job, JobError, PruneExpired, PurgeConversation};
use cura_store::expired::{self, BATCH, Expired};
use cura_store::{StoreError, answers, with_deadline};

use crate::{Parts, not_begun};

/// How long an erasure or a purge usually has.
const OVERDUE: TimeDelta = TimeDelta::minutes(30);

pub(crate) async fn run(parts: &Parts, job: PruneExpired) -> Result<(), JobError> {
    for kind in Expired::ALL {
        let now = parts.clock.now();
        let mut all = 0;
        loop {
            let forgotten =
                with_deadline(async { kind.forget(&mut *parts.database.pool().acquire().await?, now).await });
            let forgotten = forgotten.await.map_err(not_begun)?;
            all += forgotten;
            if forgotten < BATCH {
                break;
            }
        }
        tracing::debug!(?kind, rows = all, "forgot what has had its time");
    }
    let since = parts.clock.now() - OVERDUE;
    let overdue = with_deadline(async {
        let mut connection = parts.database.pool().acquire().await?;
        let users = expired::list_unerased(&mut connection, since).await?;
        let conversations = expired::list_unpurged(&mut connection, since).await?;
        Ok((users, conversations))
    });
    let (users, conversations) = overdue.await.map_err(not_begun)?;
    let round = job.period;
    for user in users {
        let user_id = user.0;
        ask_again(parts, &EraseUser { user_id, round }).await?;
    }
    for conversation in conversations {
        let conversation_id = conversation.0;
        ask_again(parts, &PurgeConversation { conversation_id, round }).await?;
    }
    bury_orphans(parts).await
}

/// Closes answers that are not final and have no job.
async fn bury_orphans(parts: &Parts) -> Result<(), JobError> {
    let since = parts.clock.now() - OVERDUE;
    let mut after = MessageId(0);
    loop {
        let page = with_deadline(async {
            let mut connection = parts.database.pool().acquire().await?;
            let untouched = answers::list_untouched(&mut connection, since, after).await?;
            let keys: Vec<String> = untouched.iter().map(MessageId::to_string).collect();
            let alive = cura_queue::list_unfinished::<GenerateAnswer>(&mut connection, &keys).await;
            Ok((untouched, alive.map_err(StoreError::from)?))
        });
        let (untouched, alive) = page.await.map_err(not_begun)?;
        let Some(last) = untouched.last() else {
            return Ok(());
        };
        after = *last;
        for orphan in untouched {
            if !alive.contains(&orphan.to_string()) {
                ask_again(parts, &FailAbandonedAnswer { message_id: orphan.0 }).await?;
            }
        }
    }
}

async fn ask_again<J: Job>(parts: &Parts, job: &J) -> Result<(), JobError> {
    tracing::warn!(
        queue = J::QUEUE,
        key = job.key(),
        "this should be done by now; asking again"
    );
    let enqueued = with_deadline(async {
        let mut connection = parts.database.pool().acquire().await?;
        cura_queue::enqueue(&mut connection, job)
            .await
            .map_err(StoreError::from)
    });
    enqueued.await.map(drop).map_err(not_begun)
}
