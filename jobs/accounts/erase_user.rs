//! Erases a user who asked for it: their texts in `live`, then their rows in every table with personal data.
//!
//! May run twice: erasing is idempotent, so a second run continues where the first was interrupted. A user who did not ask
//! for it is left alone.

use std::sync::Arc;

use cura_domain::UserId;
use cura_queue::{EraseUser, JobError, Run};
use cura_store::personal_data::{Erased, TABLES};
use cura_store::{answers, users};

use crate::answers::stop_writers::{stop_and_forget, texts_kept_since};
use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;

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
    stop_and_forget(&context, &recent).await?;
    for table in TABLES {
        loop {
            let erased = database.connection(async |connection| table.erase(connection, user).await);
            if erased.await.map_err(snooze_if_unavailable)? == Erased::All {
                break;
            }
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
