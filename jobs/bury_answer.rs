//! An answer whose job is dead becomes an `error`, so that nobody waits for it.
//!
//! May run twice: an answer that is final already is left as it is.

use cura_domain::MessageId;
use cura_queue::{BuryAnswer, JobError};
use cura_store::answers;

use crate::{Parts, store_error};

pub(crate) async fn run(parts: &Parts, job: BuryAnswer) -> Result<(), JobError> {
    let id = MessageId(job.message_id);
    let mut connection = parts.pool.acquire().await.map_err(|error| store_error(error.into()))?;
    let failed = answers::fail(&mut connection, id, None, "generation_failed", None, parts.clock.now())
        .await
        .map_err(store_error)?;
    drop(connection);
    match failed {
        Some(fence) => {
            tracing::warn!(message_id = %id, "an answer's job died; the answer was closed as failed");
            // Watchers that miss this find out from Postgres.
            let _ = parts.live.end(id, fence).await;
        }
        None => tracing::debug!(message_id = %id, "nothing to bury: the answer is final"),
    }
    Ok(())
}
