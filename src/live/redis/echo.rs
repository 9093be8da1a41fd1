//! The echo: what a process publishes to itself. A subscription that no longer receives it is dead, or at a server that is cut off
//! from the one that is written to; both look like one on which nothing happens.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::connection::Connection;
use super::keys::Channel;
use super::request::Request;
use super::trouble::RedisTrouble;

/// The pause between two calls.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a call may take to arrive.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(3);

/// The echo on one subscription.
pub(super) struct Echo {
    channel: Channel,
    /// The number of the last call that arrived.
    arrived: watch::Sender<u64>,
}

impl Echo {
    /// The echo of the process `name`.
    pub(super) fn new(name: u64) -> Self {
        Self {
            channel: Channel::Echo(name),
            arrived: watch::Sender::new(0),
        }
    }

    pub(super) fn channel(&self) -> Channel {
        self.channel
    }

    /// Notes a call that arrived.
    pub(super) fn note(&self, payload: &[u8]) {
        let number = std::str::from_utf8(payload).ok().and_then(|number| number.parse().ok());
        self.arrived.send_replace(number.unwrap_or_default());
    }

    /// Calls until one does not arrive. One that cannot be published says nothing about the subscription.
    pub(super) async fn call(&self, connection: &Connection) -> RedisTrouble {
        let channel = self.channel.name();
        let mut arrivals = self.arrived.subscribe();
        for number in 1_u64.. {
            let publish = Request::command("PUBLISH", &channel).arg(&channel).arg(number);
            if connection.call::<i64>(&publish).await.is_ok() {
                let arrival = arrivals.wait_for(|arrived| *arrived >= number);
                if !matches!(timeout(ARRIVAL_TIMEOUT, arrival).await, Ok(Ok(_))) {
                    break;
                }
            }
            sleep(INTERVAL).await;
        }
        RedisTrouble::Deaf
    }
}
