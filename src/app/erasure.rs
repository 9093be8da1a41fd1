//! Beginning the erasure of an account, whoever asks for it: its data is invisible at once, and a job removes the rows.

use chrono::{DateTime, Utc};
use cura_answers::cancel_all_jobs;
use cura_domain::{MessageId, UserId};
use cura_queue::{EraseUser, JobOwner};
use cura_store::{PgConnection, StoreError, answers, erasures, sessions, users};

/// Empties the user's row, ends every session, cancels every job that works with the user's words, and enqueues the job that removes the
/// rest. It is listed among the erasures, so that it is done again when an older backup is restored. Returns the running answers, whose
/// texts are to be forgotten once this is committed.
pub(crate) async fn begin(
    connection: &mut PgConnection,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<Vec<MessageId>, StoreError> {
    users::begin_erasure(connection, user, now).await?;
    sessions::end_all(connection, user, None, now).await?;
    let running = answers::list_running(connection, user).await?;
    cancel_all_jobs(connection, JobOwner::user(user), &running).await?;
    cura_queue::enqueue(connection, &job(user)).await?;
    erasures::list(connection, user, now).await?;
    Ok(running)
}

/// The first job of an erasure. Later ones, with higher rounds, are enqueued when it is overdue.
pub(crate) const fn job(user: UserId) -> EraseUser {
    EraseUser {
        user_id: user.0,
        round: 0,
    }
}
