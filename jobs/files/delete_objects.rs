//! Deletes from the file store the objects of deleted files, until the store agrees.
//!
//! May run twice, even at once: deleting what is not there succeeds, and an object is forgotten only when it is deleted.

use std::sync::Arc;
use std::time::Duration;

use cura_queue::{DeleteObjects, JobError, Run};

use super::listed_objects::{Deleted, delete_due};
use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;

/// How often objects are looked for that a file's own job has not deleted.
pub(crate) const INTERVAL: Duration = Duration::from_secs(2 * 60);
/// How long one run deletes, before others have their turn. What is deleted stays deleted.
const RUN_TIME: Duration = Duration::from_secs(20);
/// The pause after which a run goes on: behind every job that is ready by then.
const BETWEEN_RUNS: Duration = Duration::from_millis(200);

pub(crate) async fn run(context: Arc<JobContext>, _: DeleteObjects, _: Run) -> Result<(), JobError> {
    let deleted = delete_due(&context.database, &context.files, None, RUN_TIME).await;
    match deleted.map_err(snooze_if_unavailable)? {
        // What is left is due later, when another period's job looks for it.
        Deleted::All | Deleted::NotNow => Ok(()),
        Deleted::TimeUp => Err(JobError::Snooze {
            after: BETWEEN_RUNS,
            reason: "objects are left; others have their turn".to_owned(),
        }),
    }
}
