//! Before what was said is removed, nobody may be writing it any more, and `live` forgets it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use cura_domain::MessageId;
use cura_queue::{GenerateAnswer, JobError};
use cura_store::{StoreError, with_deadline};

use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;

/// How long a writer that was told to stop may take before it is looked for again.
const STOPPING: Duration = Duration::from_millis(500);

/// The time since which answers may have changed whose texts are still in `live`.
pub(crate) fn texts_kept_since(parts: &JobContext) -> DateTime<Utc> {
    let retention = TimeDelta::from_std(parts.live.config().retention()).unwrap_or(TimeDelta::MAX);
    parts
        .clock
        .now()
        .checked_sub_signed(retention)
        .unwrap_or(DateTime::UNIX_EPOCH)
}

/// Stops whoever writes one of these answers, and lets `live` forget their texts.
///
/// # Errors
/// [`JobError::Snooze`] while somebody is still writing.
pub(crate) async fn stop_and_forget(parts: &JobContext, answers: &[MessageId]) -> Result<(), JobError> {
    let keys: Vec<String> = answers.iter().map(MessageId::to_string).collect();
    let running = with_deadline(async {
        let mut connection = parts.database.pool().acquire().await?;
        let running = cura_queue::is_any_running::<GenerateAnswer>(&mut connection, &keys).await;
        let running = running.map_err(StoreError::from)?;
        for key in keys.iter().filter(|_| running) {
            let cancelled = cura_queue::cancel::<GenerateAnswer>(&mut connection, key).await;
            cancelled.map_err(StoreError::from)?;
        }
        Ok(running)
    });
    if running.await.map_err(snooze_if_unavailable)? {
        return Err(JobError::Snooze {
            after: STOPPING,
            reason: "an answer is still being written".to_owned(),
        });
    }
    for answer in answers {
        if let Err(error) = parts.live.delete(*answer).await {
            // It forgets by itself, half an hour after the last word at the latest; the rows do not wait for it.
            tracing::warn!(message_id = %answer, %error, "live could not be told to forget an answer");
        }
    }
    Ok(())
}
