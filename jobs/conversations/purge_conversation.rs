//! Removes what is left of a deleted conversation, the newest messages first, a batch at a time.
//!
//! May run twice: what is gone is gone, and a conversation that was not deleted is left alone.

use cura_domain::ConversationId;
use cura_queue::{JobError, PurgeConversation};
use cura_store::{answers, conversations, with_deadline};

use crate::stop_answers::{stop_and_forget, texts_kept_since};
use crate::{Parts, not_begun};

pub(crate) async fn run(parts: &Parts, job: PurgeConversation) -> Result<(), JobError> {
    let id = ConversationId(job.conversation_id);
    let since = texts_kept_since(parts);
    let recent = with_deadline(async {
        answers::list_recent_deleted(&mut *parts.database.pool().acquire().await?, id, since).await
    });
    stop_and_forget(parts, &recent.await.map_err(not_begun)?).await?;
    loop {
        let gone =
            with_deadline(async { conversations::purge(&mut *parts.database.pool().acquire().await?, id).await });
        if gone.await.map_err(not_begun)? {
            return Ok(());
        }
    }
}
