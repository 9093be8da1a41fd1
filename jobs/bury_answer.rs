//! An answer whose job is dead becomes an `error`, so that nobody waits for it.
//!
//! May run twice: an answer that is final already is left as it is.

use std::sync::Arc;

use cura_domain::MessageId;
use cura_domain::event::Event;
use cura_live::Signal;
use cura_queue::{FailAbandonedAnswer, JobError, Run};
use cura_store::answers::End;
use cura_store::events;
use cura_store::{attempts, conversations, history, messages, usage, with_deadline};

use crate::context::JobContext;
use crate::ending;
use crate::errors::snooze_if_unavailable;

pub(crate) async fn run(parts: Arc<JobContext>, job: FailAbandonedAnswer, _: Run) -> Result<(), JobError> {
    let parts = &*parts;
    let id = MessageId(job.message_id);
    let buried = with_deadline(async {
        let now = parts.clock.now();
        let mut transaction = parts.database.pool().begin().await?;
        let Some((_, conversation)) = history::find_place(&mut transaction, id).await? else {
            return Ok(None);
        };
        // The conversation first, as everybody locks them: whoever still writes this answer is done, or cannot be.
        conversations::touch(&mut transaction, conversation, 0, None, now).await?;
        let lost = match messages::find_running(&mut transaction, id).await? {
            Some(message) => {
                let model = parts.ai.primary_model();
                let voice = (&*model.provider, &*model.model);
                let (attempt, bytes) = (message.attempt, message.content.len());
                attempts::record_lost(&mut transaction, id, attempt, bytes, voice, now).await?
            }
            None => None,
        };
        let end = End::failed("generation_failed");
        let written = ending::write(&mut transaction, conversation, id, None, &end, now).await?;
        let Some(written) = written else {
            return Ok(None);
        };
        if let Some(lost) = lost {
            usage::add(&mut transaction, lost.user, &lost.model, 0, &lost.usage, now).await?;
        }
        let ended = Event::ends(conversation, &[id]);
        let seq = events::append(&mut transaction, written.ended.user_id, &ended, now).await?;
        transaction.commit().await?;
        Ok(Some((written, seq)))
    });
    match buried.await.map_err(snooze_if_unavailable)? {
        Some((written, seq)) => {
            tracing::warn!(message_id = %id, "an answer's job died; the answer was closed as failed");
            // Watchers that miss this find out from Postgres.
            let _ = tokio::join!(
                parts.live.end(id, written.ended.fence),
                parts.live.publish_to_user(written.ended.user_id, Signal::Logged(seq))
            );
        }
        None => tracing::debug!(message_id = %id, "nothing to bury: the answer is final or gone"),
    }
    Ok(())
}
