//! Erases a user who asked for it: their texts in `live`, then their rows in every table with personal data, and, before the row of the
//! user, what the file store has of them. The first thing it does is to list the erasure in the file store; the user's row stays until that was done.
//!
//! May run twice: erasing is idempotent, so a second run continues where the first was interrupted. A user who did not ask
//! for it is left alone. Rows are erased in slices, so that erasing a person with many rows delays nobody else's erasure.

use std::sync::Arc;
use std::time::Duration;

use cura_backup::Listed;
use cura_domain::UserId;
use cura_queue::{EraseUser, JobError, Run};
use cura_store::personal_data::TABLES;
use cura_store::{answers, erasures, object_deletions, users};

use crate::answers::stop_writers::{stop_and_forget, texts_kept_since};
use crate::batches::{Batches, Rows, Slice};
use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;
use crate::files::listed_objects::{Deleted, delete_due};

/// How long a run erases rows, before other erasures have their turn. What is erased stays erased.
const SLICE: Duration = Duration::from_secs(10);
/// The pause after which a run goes on: behind every job that is ready by then.
const BETWEEN_SLICES: Duration = Duration::from_millis(200);
/// The pause when the file store has not deleted everything, or something may still be on its way into it.
const WAIT_FOR_FILES: Duration = Duration::from_secs(10);

/// How many numbers are tried for an erasure, whose own may be taken where a database was restored from long ago.
const NUMBERS_TRIED: usize = 100;

pub(crate) async fn run(context: Arc<JobContext>, job: EraseUser, _: Run) -> Result<(), JobError> {
    let database = &context.database;
    let user = UserId(job.user_id);
    let since = texts_kept_since(&context);
    let recent = database.connection(async |connection| {
        if !users::is_being_erased(connection, user).await? {
            return Ok(None);
        }
        answers::list_recent(connection, user, since).await.map(Some)
    });
    let Some(recent) = recent.await.map_err(snooze_if_unavailable)? else {
        tracing::info!(user_id = %user, "nothing to erase: the user is gone, or did not ask for it");
        return Ok(());
    };
    // At once, so that a database that is lost meanwhile does not bring them back for good; without it, the user's row stays.
    let listed = list_erasure(&context, user).await;
    stop_and_forget(&context, &recent).await?;
    let mut batches = Batches::new(&context, SLICE);
    for table in TABLES {
        if table.name == "users" {
            // Whoever goes on after a crash finds the user, and so what is left.
            listed.clone()?;
            delete_objects(&context, user).await?;
        }
        if batches.delete(Rows::OfUser(user, table)).await? == Slice::TimeUp {
            return Err(JobError::Snooze {
                after: BETWEEN_SLICES,
                reason: format!(
                    "{} rows are erased, up to {}; others have their turn",
                    batches.rows, table.name
                ),
            });
        }
    }
    // A transaction that was still open may have added rows, or held locks on rows that were skipped.
    for table in TABLES {
        let left = database.connection(async |connection| table.count(connection, user).await);
        let rows = left.await.map_err(snooze_if_unavailable)?;
        if rows > 0 {
            return Err(JobError::Retry {
                after: None,
                reason: format!("{rows} rows of {} were written meanwhile", table.name),
            });
        }
    }
    tracing::info!(user_id = %user, "user erased");
    Ok(())
}

/// Writes the erasure into the list of the file store, by which a restored backup is erased again. Writing it twice changes nothing.
async fn list_erasure(context: &JobContext, user: UserId) -> Result<(), JobError> {
    let database = &context.database;
    for _ in 0..NUMBERS_TRIED {
        let found = database.connection(async |connection| erasures::find(connection, user).await);
        let Some(erasure) = found.await.map_err(snooze_if_unavailable)? else {
            tracing::info!(user_id = %user, "this erasure began before erasures were listed");
            return Ok(());
        };
        let listed = cura_backup::list_erasure(&context.files, &erasure).await;
        let listed = listed.map_err(|error| JobError::Snooze {
            after: WAIT_FOR_FILES,
            reason: format!("the erasure cannot be listed yet: {error}"),
        })?;
        if listed == Listed::There {
            return Ok(());
        }
        let renumbered = database.transaction(async |connection| erasures::renumber(connection, &erasure).await);
        renumbered.await.map_err(snooze_if_unavailable)?;
    }
    Err(JobError::Retry {
        after: None,
        reason: "the erasure has no number of its own in the list of the file store".to_owned(),
    })
}

/// Deletes what the file store has of a user whose files have no rows any more.
async fn delete_objects(context: &JobContext, user: UserId) -> Result<(), JobError> {
    let database = &context.database;
    let deleted = delete_due(database, &context.files, Some(user), SLICE).await;
    let deleted = deleted.map_err(snooze_if_unavailable)?;
    let left = database.connection(async |connection| object_deletions::count_of(connection, user).await);
    let left = left.await.map_err(snooze_if_unavailable)?;
    if left == 0 {
        return Ok(());
    }
    Err(JobError::Snooze {
        after: if deleted == Deleted::TimeUp {
            BETWEEN_SLICES
        } else {
            WAIT_FOR_FILES
        },
        reason: format!("{left} objects are still to be deleted from the file store"),
    })
}
