//! Erases a user who asked for it: texts in `live`, then every row of every table with data of people.
//!
//! May run twice, and begins where it was interrupted: what is gone is gone. A user who did not ask is left alone.

use chrono::TimeDelta;
use cura_domain::UserId;
use cura_queue::{EraseUser, JobError};
use cura_store::personal_data::{Erased, TABLES};
use cura_store::{answers, in_time, users};

use crate::{Parts, not_begun};

/// The longest a text stays in `live` after it changed last.
const LIVE: TimeDelta = TimeDelta::minutes(35);

pub(crate) async fn run(parts: &Parts, job: EraseUser) -> Result<(), JobError> {
    let user = UserId(job.user_id);
    let since = parts.clock.now() - LIVE;
    let recent = in_time(async {
        let mut connection = parts.pool.acquire().await?;
        if !users::is_being_erased(&mut connection, user).await? {
            return Ok(None);
        }
        answers::list_recent(&mut connection, user, since).await.map(Some)
    });
    let Some(recent) = recent.await.map_err(not_begun)? else {
        tracing::info!(user_id = %user, "nobody to erase: gone already, or it was not asked for");
        return Ok(());
    };
    for answer in recent {
        parts.live.forget(answer).await.map_err(|error| JobError::Retry {
            after: None,
            reason: error.to_string(),
        })?;
    }
    for table in TABLES {
        loop {
            let erased = in_time(async { table.erase(&mut *parts.pool.acquire().await?, user).await });
            if erased.await.map_err(not_begun)? == Erased::All {
                break;
            }
        }
    }
    tracing::info!(user_id = %user, "a user was erased");
    Ok(())
}
