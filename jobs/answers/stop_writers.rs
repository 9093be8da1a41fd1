//! Stops the writers of answers whose rows are about to be removed, and removes their texts from `live`.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use cura_answers::cancel_jobs;
use cura_domain::MessageId;
use cura_queue::{GenerateAnswer, JobError};
use cura_store::StoreError;

use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;

/// How long the job is snoozed while a writer stops.
const STOPPING_SNOOZE: Duration = Duration::from_millis(500);

/// The time since which answers may have changed whose texts are still in `live`.
pub(crate) fn texts_kept_since(context: &JobContext) -> DateTime<Utc> {
    let retention = TimeDelta::from_std(context.live.config().retention()).unwrap_or(TimeDelta::MAX);
    let since = context.clock.now().checked_sub_signed(retention);
    since.unwrap_or(DateTime::UNIX_EPOCH)
}

/// Stops the writers of these answers, and removes the texts from `live`.
///
/// # Errors
/// [`JobError::Snooze`] while one of the answers is still being written.
pub(crate) async fn stop_and_forget(context: &JobContext, answers: &[MessageId]) -> Result<(), JobError> {
    let keys: Vec<String> = answers.iter().map(MessageId::to_string).collect();
    let running = context.database.connection(async |connection| {
        let running = cura_queue::is_any_running::<GenerateAnswer>(connection, &keys).await?;
        if running {
            cancel_jobs(connection, answers).await?;
        }
        Ok::<_, StoreError>(running)
    });
    if running.await.map_err(snooze_if_unavailable)? {
        return Err(JobError::Snooze {
            after: STOPPING_SNOOZE,
            reason: "an answer is still being written".to_owned(),
        });
    }
    for answer in answers {
        if let Err(error) = context.live.forget(*answer).await {
            // Its text expires by itself, half an hour after the last change; the rows do not wait for it.
            tracing::warn!(message_id = %answer, %error, "an answer's text could not be removed from live; it expires by itself");
        }
    }
    Ok(())
}
