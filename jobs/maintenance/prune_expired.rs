//! Removes the expired rows of one kind, for at most [`RUN_TIME`]; what is left goes to a job behind those of the other kinds.
//!
//! May run twice, even at once: removing is idempotent, and the jobs of one kind and period share one key.

use std::sync::Arc;
use std::time::Duration;

use cura_queue::{JobError, PruneExpired, PruneKind, Run};
use cura_store::expired::Expired;

use super::overdue;
use crate::batches::{Batches, Rows, Slice};
use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;

/// How often expired rows are removed.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10 * 60);
/// How long one run removes rows, before other jobs have their turn.
const RUN_TIME: Duration = Duration::from_secs(20);
/// How often a job of one period is postponed: until the next one begins.
const MAX_POSTPONEMENTS: u32 = 30;
/// After how many postponements in one period an operator is told that rows expire faster than they are removed.
const ALERT_AFTER: u32 = 10;

pub(crate) async fn run(context: Arc<JobContext>, job: PruneExpired, _: Run) -> Result<(), JobError> {
    let now = context.clock.now();
    let expired = |kind| Rows::Expired(kind, now);
    match job.kind {
        PruneKind::Tickets => remove(&context, job, expired(Expired::Tickets)).await,
        PruneKind::IdempotencyKeys => remove(&context, job, expired(Expired::IdempotencyKeys)).await,
        PruneKind::RefreshTokens => remove(&context, job, expired(Expired::RefreshTokens)).await,
        PruneKind::Sessions => remove(&context, job, expired(Expired::Sessions)).await,
        PruneKind::Exports => remove(&context, job, expired(Expired::Exports)).await,
        PruneKind::Events => remove(&context, job, expired(Expired::Events)).await,
        PruneKind::ModelCalls => remove(&context, job, expired(Expired::ModelCalls)).await,
        PruneKind::Pushes => remove(&context, job, expired(Expired::Pushes)).await,
        PruneKind::OperatorActions => remove(&context, job, expired(Expired::OperatorActions)).await,
        PruneKind::AbandonedUploads => remove(&context, job, expired(Expired::AbandonedUploads)).await,
        PruneKind::UnattachedFiles => remove(&context, job, Rows::UnattachedFiles(now)).await,
        PruneKind::ResumableUploads => remove(&context, job, expired(Expired::ResumableUploads)).await,
        PruneKind::OverdueScans => overdue::enqueue_scans(&context, job.period).await,
        PruneKind::OverdueErasures => overdue::enqueue_erasures(&context, job.period).await,
        PruneKind::AbandonedAnswers => overdue::fail_abandoned_answers(&context).await,
    }
}

async fn remove(context: &JobContext, job: PruneExpired, rows: Rows) -> Result<(), JobError> {
    let mut batches = Batches::new(context, RUN_TIME);
    let slice = batches.delete(rows).await?;
    let (kind, rows) = (job.kind, batches.rows);
    match slice {
        Slice::Done => tracing::debug!(?kind, rows, "expired rows removed"),
        Slice::TimeUp => postpone(context, job, rows).await?,
    }
    Ok(())
}

/// Enqueues the rest of the work, unless the next period is about to begin, whose job does it.
async fn postpone(context: &JobContext, job: PruneExpired, rows: u64) -> Result<(), JobError> {
    let kind = job.kind;
    if job.round >= MAX_POSTPONEMENTS {
        return Ok(());
    }
    let rest = PruneExpired {
        round: job.round.saturating_add(1),
        ..job
    };
    if rest.round == ALERT_AFTER {
        tracing::error!(
            ?kind,
            postponements = rest.round,
            "expired rows are not removed as fast as they expire; look for what makes deleting slow"
        );
    } else {
        tracing::info!(
            ?kind,
            rows,
            postponements = rest.round,
            "expired rows are left; going on after other jobs"
        );
    }
    let enqueued = context
        .database
        .connection(async |connection| Ok(cura_queue::enqueue(connection, &rest).await?));
    enqueued.await.map(drop).map_err(snooze_if_unavailable)
}
