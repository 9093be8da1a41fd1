//! An answer whose job is dead becomes an `error`, so that nobody waits for it.
//!
//! May run twice: an answer that is final already is left as it is.

use cura_domain::MessageId;
use cura_queue::{BuryAnswer, JobError};
use cura_store::{answers, in_time};

use crate::{Parts, not_begun};

pub(crate) async fn run(parts: &Parts, job: BuryAnswer) -> Result<(), JobError> {
    let id = MessageId(job.message_id);
    let failed = in_time(async {
        let mut connection = parts.pool.acquire().await?;
        answers::fail(&mut connection, id, None, "generation_failed", None, parts.clock.now()).await
    });
    match failed.await.map_err(not_begun)? {
        Some(fence) => {
            tracing::warn!(message_id = %id, "an answer's job died; the answer was closed as failed");
            // Watchers that miss this find out from Postgres.
            let _ = parts.live.end(id, fence).await;
        }
        None => tracing::debug!(message_id = %id, "nothing to bury: the answer is final"),
    }
    Ok(())
}
