//! Listens for notifications: of jobs that are new, ready again or to be cancelled, and of queues that are paused or resumed. What is missed while there is no connection is
//! found by a query as soon as there is another one.

use std::sync::Arc;
use std::time::Duration;

use cura_postgres::Subscription;

use crate::error::QueueError;
use crate::instance::Instance;
use crate::notify_channels::{CANCEL_CHANNEL, INSERT_CHANNEL, PAUSE_CHANNEL, WAKE_CHANNEL};
use crate::outage::Outage;
use crate::run::StopReason;
use crate::statement_timeout::with_timeout;

/// The pause before a lost LISTEN connection is tried again.
const LISTEN_PAUSE: Duration = Duration::from_millis(500);

/// Listens on one connection, and on another one when it is lost, until it is dropped.
pub(crate) async fn run_notifier_loop(instance: Arc<Instance>) {
    let mut outage = Outage::of("listening for jobs");
    loop {
        if let Err(error) = listen_once(&instance, &mut outage).await {
            outage.failed(&error);
        }
        tokio::time::sleep(LISTEN_PAUSE).await;
    }
}

/// Listens until the connection is lost.
async fn listen_once(instance: &Instance, outage: &mut Outage) -> Result<(), QueueError> {
    let channels = [INSERT_CHANNEL, WAKE_CHANNEL, CANCEL_CHANNEL, PAUSE_CHANNEL];
    let listening = Subscription::begin(&instance.pool, Some("cura-queue-listener"), &channels);
    let mut listener = with_timeout(async { Ok(listening.await?) }).await?;
    // Notifications that were sent before we listened are lost: query instead.
    instance.wake.notify_one();
    instance.check_orders.notify_one();
    loop {
        match tokio::time::timeout(instance.config.listener_check_interval, listener.next()).await {
            Ok(Ok(Some(notification))) if notification.channel() == CANCEL_CHANNEL => {
                instance.stop_run(notification.payload(), StopReason::Cancelled);
            }
            Ok(Ok(Some(notification))) if notification.channel() == PAUSE_CHANNEL => instance.check_orders.notify_one(),
            Ok(Ok(Some(_))) => instance.wake.notify_one(),
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(error.into()),
            // A connection that the network has dropped looks like a queue without jobs: probe it.
            Err(_) => {
                with_timeout(async { Ok(listener.check().await?) }).await?;
                outage.worked();
            }
        }
    }
}
