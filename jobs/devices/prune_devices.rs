//! Lets devices fall silent that were not seen for long, and removes those that are silent for long or that their push service
//! called gone; for at most [`RUN_TIME`], what is left goes to the next hour.
//!
//! May run twice, even at once: each batch looks for rows that are still as it wants them.

use std::sync::Arc;
use std::time::Duration;

use cura_queue::{JobError, PruneDevices, Run};
use cura_store::devices::Pruned;

use crate::batches::{Batches, Rows, Slice};
use crate::context::JobContext;

/// How often devices are looked at.
pub(crate) const INTERVAL: Duration = Duration::from_secs(60 * 60);
/// How long one run changes rows, before other jobs have their turn.
const RUN_TIME: Duration = Duration::from_secs(20);

pub(crate) async fn run(context: Arc<JobContext>, _: PruneDevices, _: Run) -> Result<(), JobError> {
    let now = context.clock.now();
    let mut batches = Batches::new(&context, RUN_TIME);
    for which in Pruned::ALL {
        let before = which.before(now, context.push.devices_unseen_after);
        if batches.delete(Rows::Devices(which, before, now)).await? == Slice::TimeUp {
            tracing::info!(
                ?which,
                rows = batches.rows,
                "devices are left to prune; going on in the next hour"
            );
            return Ok(());
        }
    }
    tracing::debug!(rows = batches.rows, "devices pruned");
    Ok(())
}
