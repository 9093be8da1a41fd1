//! Removes what is left of a deleted conversation: the texts in `live`, its files, its messages, newest first, in batches, then its row;
//! with that, answers that waited for one of its own may start.
//!
//! May run twice: removing is idempotent, and a conversation that is not deleted is left alone.

use std::sync::Arc;
use std::time::Duration;

use cura_domain::ConversationId;
use cura_queue::{JobError, PurgeConversation, Run};
use cura_store::{StoreError, answers, conversations};

use crate::answers::stop_writers::{stop_and_forget, texts_kept_since};
use crate::batches::{Batches, Rows, Slice};
use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;

/// How long a run removes rows, before other purges have their turn. What is removed stays removed.
const SLICE: Duration = Duration::from_secs(10);
/// The pause after which a run goes on: behind every job that is ready by then.
const BETWEEN_SLICES: Duration = Duration::from_millis(200);

pub(crate) async fn run(context: Arc<JobContext>, job: PurgeConversation, _: Run) -> Result<(), JobError> {
    let database = &context.database;
    let id = ConversationId(job.conversation_id);
    let since = texts_kept_since(&context);
    let recent = database.connection(async |connection| answers::list_recent_deleted(connection, id, since).await);
    stop_and_forget(&context, &recent.await.map_err(snooze_if_unavailable)?).await?;
    let mut batches = Batches::new(&context, SLICE);
    // The files first: which they are, its messages say.
    for rows in [
        Rows::FilesOfConversation(id, context.clock.now_micros()),
        Rows::OfConversation(id),
    ] {
        if batches.delete(rows).await? == Slice::TimeUp {
            return Err(JobError::Snooze {
                after: BETWEEN_SLICES,
                reason: format!("{} rows are removed; others have their turn", batches.rows),
            });
        }
    }
    // Together: a run that dies before has the row to find their user by, and one that dies after has nothing left to do.
    let removed = database.transaction(async |connection| {
        if let Some(user) = conversations::purge_row(connection, id).await? {
            context.answers.wake_waiting(connection, user).await?;
        }
        Ok::<_, StoreError>(())
    });
    removed.await.map_err(snooze_if_unavailable)?;
    tracing::info!(conversation_id = %id, "nothing is left of the deleted conversation");
    Ok(())
}
