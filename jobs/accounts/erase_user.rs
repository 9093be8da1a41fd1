//! Erases a user who asked for it: texts in `live`, then every row of every table with data of people.
//!
//! May run twice, and begins where it was interrupted: what is gone is gone. A user who did not ask is left alone.

use cura_domain::UserId;
use cura_queue::{EraseUser, JobError};
use cura_store::personal_data::{Erased, TABLES};
use cura_store::{answers, users, with_deadline};

use crate::stop_answers::{stop_and_forget, texts_kept_since};
use crate::{Parts, not_begun};

pub(crate) async fn run(parts: &Parts, job: EraseUser) -> Result<(), JobError> {
    let user = UserId(job.user_id);
    let since = texts_kept_since(parts);
    let recent = with_deadline(async {
        let mut connection = parts.database.pool().acquire().await?;
        if !users::is_being_erased(&mut connection, user).await? {
            return Ok(None);
        }
        answers::list_recent(&mut connection, user, since).await.map(Some)
    });
    let Some(recent) = recent.await.map_err(not_begun)? else {
        tracing::info!(user_id = %user, "nobody to erase: gone already, or it was not asked for");
        return Ok(());
    };
    stop_and_forget(parts, &recent).await?;
    for table in TABLES {
        loop {
            let erased = with_deadline(async { table.erase(&mut *parts.database.pool().acquire().await?, user).await });
            if erased.await.map_err(not_begun)? == Erased::All {
                break;
            }
        }
    }
    // A row that somebody was just writing is not seen, or skipped: then there is another look.
    for table in TABLES {
        let left = with_deadline(async { table.count(&mut *parts.database.pool().acquire().await?, user).await });
        let rows = left.await.map_err(not_begun)?;
        if rows > 0 {
            return Err(JobError::Retry {
                after: None,
                reason: format!("{rows} rows of {} were written meanwhile", table.name),
            });
        }
    }
    tracing::info!(user_id = %user, "a user was erased");
    Ok(())
}
