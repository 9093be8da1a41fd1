//! Removes what is left of a deleted conversation: the texts in `live`, then its rows, newest messages first, in batches.
//!
//! May run twice: removing is idempotent, and a conversation that is not deleted is left alone.

use std::sync::Arc;

use cura_domain::ConversationId;
use cura_queue::{JobError, PurgeConversation, Run};
use cura_store::{answers, conversations};

use crate::answers::stop_writers::{stop_and_forget, texts_kept_since};
use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;

pub(crate) async fn run(context: Arc<JobContext>, job: PurgeConversation, _: Run) -> Result<(), JobError> {
    let database = &context.database;
    let id = ConversationId(job.conversation_id);
    let since = texts_kept_since(&context);
    let recent = database.connection(async |connection| answers::list_recent_deleted(connection, id, since).await);
    stop_and_forget(&context, &recent.await.map_err(snooze_if_unavailable)?).await?;
    loop {
        let purged = database.connection(async |connection| conversations::purge(connection, id).await);
        if purged.await.map_err(snooze_if_unavailable)? {
            tracing::info!(conversation_id = %id, "nothing is left of the deleted conversation");
            return Ok(());
        }
    }
}
