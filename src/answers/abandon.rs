//! Failing an answer whose job was discarded, so that its reader does not wait for ever.

use cura_domain::MessageId;
use cura_domain::message::AnswerResult;
use cura_queue::GenerateAnswer;
use cura_store::{PgConnection, StoreError, answers, owners};

use crate::{Answers, WriteError};

/// The error code of an answer whose job was discarded.
const ERROR_CODE: &str = "generation_failed";

impl Answers {
    /// Makes an answer that no job will finish an error, with the text that was saved. `false` when it is final or deleted, or its job
    /// waits or runs: an operator has retried it since it was discarded.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing was changed.
    pub async fn fail_abandoned(&self, id: MessageId) -> Result<bool, StoreError> {
        let owner = async |connection: &mut PgConnection| owners::find_of_message(connection, id).await;
        let Some(owner) = self.0.database.connection(owner).await? else {
            return Ok(false);
        };
        let push = self.look_at_end(owner.user(), id).await;
        let failed = self.0.database.transaction(async |connection| {
            let now = self.0.clock.now();
            if owners::find(connection, owner.conversation()).await?.is_none() {
                return Err(WriteError::Superseded);
            }
            let mut finishing = self.lock(connection, owner.user(), owner.conversation(), now).await?;
            let Some(answer) = answers::lock_unfinished(finishing.connection(), id).await? else {
                return Err(WriteError::Superseded);
            };
            // Under the lock of the conversation, which a retry has, too.
            let key = [id.to_string()];
            let jobs = cura_queue::list_unfinished::<GenerateAnswer>(finishing.connection(), &key).await;
            if !jobs.map_err(StoreError::from)?.is_empty() {
                return Err(WriteError::Superseded);
            }
            let result = AnswerResult::Failed(ERROR_CODE);
            finishing
                .end_without_writer(id, answer.fence, result, &answer.text)
                .await?;
            finishing.push(push);
            Ok(finishing.close(Vec::new()).await?)
        });
        match failed.await {
            Ok(finished) => {
                finished.publish(&self.0.live).await;
                Ok(true)
            }
            Err(WriteError::Superseded | WriteError::TooLong) => Ok(false),
            Err(WriteError::Store(error)) => Err(error),
        }
    }
}
