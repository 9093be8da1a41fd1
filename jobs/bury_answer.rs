//! An answer whose job is dead becomes an `error`, so that nobody waits for it.
//!
//! May run twice: an answer that is final already is left as it is.

use cura_domain::MessageId;
use cura_queue::{BuryAnswer, JobError};
use cura_store::answers::End;
use cura_store::{attempts, history, in_time};

use crate::{Parts, ending, not_begun};

pub(crate) async fn run(parts: &Parts, job: BuryAnswer) -> Result<(), JobError> {
    let id = MessageId(job.message_id);
    let buried = in_time(async {
        let now = parts.clock.now();
        let mut transaction = parts.pool.begin().await?;
        let Some((_, conversation)) = history::find_place(&mut transaction, id).await? else {
            return Ok(None);
        };
        attempts::record_lost(&mut transaction, id, parts.ai.provider(), parts.ai.model(), now).await?;
        let end = End::failed("generation_failed");
        let written = ending::write(&mut transaction, conversation, id, None, &end, now).await?;
        if written.is_some() {
            transaction.commit().await?;
        }
        Ok(written)
    });
    match buried.await.map_err(not_begun)? {
        Some(written) => {
            tracing::warn!(message_id = %id, "an answer's job died; the answer was closed as failed");
            // Watchers that miss this find out from Postgres.
            let _ = parts.live.end(id, written.ended.fence).await;
        }
        None => tracing::debug!(message_id = %id, "nothing to bury: the answer is final or gone"),
    }
    Ok(())
}
