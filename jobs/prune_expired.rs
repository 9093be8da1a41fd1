//! Forgets what has had its time: tickets, idempotency keys, ended sessions, archives, old events.
//!
//! May run twice, even at once: what is gone is gone.

use cura_queue::JobError;
use cura_store::expired::{BATCH, Expired};
use cura_store::in_time;

use crate::{Parts, not_begun};

pub(crate) async fn run(parts: &Parts) -> Result<(), JobError> {
    for kind in Expired::ALL {
        let now = parts.clock.now();
        let mut all = 0;
        loop {
            let forgotten = in_time(async { kind.forget(&mut *parts.pool.acquire().await?, now).await });
            let forgotten = forgotten.await.map_err(not_begun)?;
            all += forgotten;
            if forgotten < BATCH {
                break;
            }
        }
        tracing::debug!(?kind, rows = all, "forgot what has had its time");
    }
    Ok(())
}
