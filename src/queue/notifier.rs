//! Being told: of jobs that are new, ready again or to be cancelled, without asking for them.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::{PgListener, PgPoolOptions};

use crate::enqueue::{CANCEL_CHANNEL, WAKE_CHANNEL};
use crate::instance::Shared;
use crate::timeout::with_timeout;
use crate::{QueueError, StopReason};

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

async fn listen_once(shared: &Shared) -> Result<(), QueueError> {
    // A pool of its own: sqlx says goodbye on a connection it drops and keeps its place until there is an answer, which a
    // silent one never gives.
    let options = shared.pool.connect_options().as_ref().clone();
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with(options.application_name("cura-queue-listener"));
    let mut listener = with_timeout(async {
        let mut listener = PgListener::connect_with(&pool).await?;
        listener
            .listen_all([INSERT_CHANNEL, WAKE_CHANNEL, CANCEL_CHANNEL])
            .await?;
        Ok(listener)
    })
    .await?;
    loop {
        // What was announced before we listened, or while the connection was away, is found by looking.
        shared.wake.notify_one();
        shared.check_lease.notify_one();
        loop {
            match tokio::time::timeout(shared.config.check_listening, listener.try_recv()).await {
                Ok(Ok(Some(notification))) if notification.channel() == CANCEL_CHANNEL => {
                    shared.stop_run(notification.payload(), StopReason::Cancelled);
                }
                Ok(Ok(Some(_))) => shared.wake.notify_one(),
                Ok(Ok(None)) => break,
                Ok(Err(error)) => return Err(error.into()),
                // A network that has forgotten the connection is as silent as a queue with nothing to do.
                Err(_) => with_timeout(async { Ok(listener.execute("SELECT 1").await.map(drop)?) }).await?,
            }
        }
    }
}
