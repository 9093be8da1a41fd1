//! What a failed query means for a job.

use std::time::Duration;

use cura_queue::JobError;
use cura_store::StoreError;

/// How long a job waits for a database that is unavailable.
pub(crate) const DATABASE_PAUSE: Duration = Duration::from_secs(1);

/// For a job that has done nothing yet, or can be repeated at no cost: while the database is unavailable, it is snoozed, so
/// that no attempt is spent. A database that answers, but does not finish in time, is no outage: that spends an attempt.
pub(crate) fn snooze_if_unavailable(error: StoreError) -> JobError {
    match error {
        StoreError::Unavailable(_) => JobError::Snooze {
            after: DATABASE_PAUSE,
            reason: error.to_string(),
        },
        StoreError::TookTooLong | StoreError::UserGone | StoreError::Query(_) | StoreError::UnknownWord(_) => {
            retry_on_store_error(error)
        }
    }
}

/// For an answer that has not begun: its person waits, and what it asks of the database is small. A database that is slow is waited
/// for like one that is away.
pub(crate) fn snooze_while_slow(error: StoreError) -> JobError {
    match error {
        StoreError::TookTooLong => JobError::Snooze {
            after: DATABASE_PAUSE,
            reason: error.to_string(),
        },
        error => snooze_if_unavailable(error),
    }
}

/// Spends an attempt on any failure; an erased user ends the job.
pub(crate) fn retry_on_store_error(error: StoreError) -> JobError {
    let reason = error.to_string();
    match error {
        StoreError::Unavailable(_) | StoreError::TookTooLong => JobError::Retry { after: None, reason },
        StoreError::UserGone => JobError::Discard { reason },
        StoreError::Query(_) | StoreError::UnknownWord(_) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a job's query failed");
            JobError::Retry { after: None, reason }
        }
    }
}
