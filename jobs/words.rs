//! The gate to people's words. A job gets words only with an owner (`cura_store::owners`), whom nobody has once the words are
//! deleted, and sends them only with [`permission`], which asks for the owner again right before each request to a provider.
//! What is under way then is dropped: the deleting transaction cancels the job, and [`unless_stopped`] drops the work.

use std::sync::Arc;
use std::time::Duration;

use cura_domain::FileId;
use cura_providers::ai::{NoPermission, Permission};
use cura_queue::{JobError, Run, StopReason};
use cura_store::owners::{self, ConversationOwner};
use cura_store::{StoreError, prompt_files};

use tokio::time::Instant;

use crate::context::JobContext;

/// How old an answer of Postgres may be that there is an owner. Deleting the words cancels the job, which a worker learns about as
/// fast; whoever asks twice within this time learns the same twice.
const FRESH: Duration = Duration::from_millis(100);

/// Permits requests with the words of a conversation as long as it and its person exist.
pub(crate) fn permission(context: &JobContext, owner: ConversationOwner) -> Permission {
    permission_read(context, owner, Vec::new(), None)
}

/// [`permission`] for an owner that was read a moment ago, by a statement that was sent at `asked_at`: a request that goes out at
/// once does not ask again. Nothing is sent, either, of files that are not clean any more, or gone.
pub(crate) fn permission_read(
    context: &JobContext,
    owner: ConversationOwner,
    files: Vec<FileId>,
    asked_at: Option<Instant>,
) -> Permission {
    let database = context.database.clone();
    let files: Arc<[FileId]> = files.into();
    Permission::new(move || {
        let (database, files) = (database.clone(), Arc::clone(&files));
        Box::pin(async move {
            if asked_at.is_some_and(|at| at.elapsed() < FRESH) {
                return Ok(());
            }
            let found = database.connection(async |connection| {
                if owners::find(connection, owner.conversation()).await?.is_none() {
                    return Ok(None);
                }
                Ok::<_, StoreError>(Some(prompt_files::are_clean(connection, owner.user(), &files).await?))
            });
            match found.await {
                Ok(Some(true)) => Ok(()),
                // The answer is asked for anew, without them.
                Ok(Some(false)) => {
                    tracing::info!(conversation_id = %owner.conversation(), "nothing was sent to a provider: a file was deleted meanwhile");
                    Err(NoPermission::Unknown)
                }
                Ok(None) => {
                    tracing::info!(conversation_id = %owner.conversation(), "nothing was sent to a provider: the words are deleted");
                    Err(NoPermission::Withdrawn)
                }
                Err(error) => {
                    tracing::warn!(%error, "nothing was sent to a provider: it is unknown whether the words are deleted");
                    Err(NoPermission::Unknown)
                }
            }
        })
    })
}

/// Does `work` until the run is to end; then drops it. `None` when the job was cancelled, which completes it.
///
/// # Errors
/// Those of `work`; [`JobError::Release`] when the process ends; [`JobError::Retry`] when the lease was lost.
pub(crate) async fn unless_stopped<T>(
    run: &Run,
    work: impl Future<Output = Result<T, JobError>>,
) -> Result<Option<T>, JobError> {
    tokio::select! {
        done = work => done.map(Some),
        reason = run.cancelled() => match reason {
            StopReason::Cancelled => {
                tracing::info!(job_id = run.job_id, "a running job was cancelled; its words are deleted");
                Ok(None)
            }
            StopReason::Draining | StopReason::Release => Err(JobError::Release),
            StopReason::Lost => Err(JobError::Retry {
                after: None,
                reason: "this worker lost its lease".to_owned(),
            }),
        },
    }
}
