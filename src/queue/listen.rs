//! Being told: of jobs that are new, ready again or to be cancelled, without asking for them.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgListener;

use crate::StopReason;
use crate::enqueue::{CANCEL_CHANNEL, WAKE_CHANNEL};
use crate::shared::Shared;

/// The channel of apalis' insert trigger.
const INSERT_CHANNEL: &str = "apalis::job::insert";
/// The pause before a lost LISTEN connection is tried again.
const LISTEN_PAUSE: Duration = Duration::from_millis(500);

/// Listens for new and cancelled jobs on one connection; after every reconnect everybody looks for themselves.
pub(crate) async fn listen(shared: Arc<Shared>) {
    loop {
        if let Err(error) = listen_once(&shared).await {
            tracing::warn!(%error, "listening for jobs was interrupted");
        }
        tokio::time::sleep(LISTEN_PAUSE).await;
    }
}

async fn listen_once(shared: &Shared) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(&shared.pool).await?;
    listener
        .listen_all([INSERT_CHANNEL, WAKE_CHANNEL, CANCEL_CHANNEL])
        .await?;
    loop {
        // What was announced before we listened, or while the connection was away, is found by looking.
        shared.wake.notify_one();
        shared.check_lease.notify_one();
        while let Some(notification) = listener.try_recv().await? {
            if notification.channel() == CANCEL_CHANNEL {
                shared.stop_run(notification.payload(), StopReason::Cancelled);
            } else {
                shared.wake.notify_one();
            }
        }
    }
}
