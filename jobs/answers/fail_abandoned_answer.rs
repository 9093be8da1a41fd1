//! Makes an answer whose job was discarded an `error`, so that its reader does not wait for ever.
//!
//! May run twice: an answer that is final is left as it is.

use std::sync::Arc;

use cura_domain::MessageId;
use cura_queue::{FailAbandonedAnswer, JobError, Run};

use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;

pub(crate) async fn run(context: Arc<JobContext>, job: FailAbandonedAnswer, _: Run) -> Result<(), JobError> {
    let id = MessageId(job.message_id);
    if context
        .answers
        .fail_abandoned(id)
        .await
        .map_err(snooze_if_unavailable)?
    {
        tracing::warn!(message_id = %id, "the answer's job was discarded; the answer is an error");
    } else {
        tracing::debug!(message_id = %id, "nothing to do: the answer is final, deleted or retried");
    }
    Ok(())
}
