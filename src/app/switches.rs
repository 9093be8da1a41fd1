//! What operators have switched off, as this server knows it: within two seconds of the change, whichever server or command made it.
//!
//! A trigger notifies every server at COMMIT, and every server reads the rows once a second, whatever was notified. While Postgres is
//! away, what was known last counts; a server that has not read anything yet takes everything for switched on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cura_domain::switch::Switch;
use cura_store::switches::{self, SWITCHES_CHANNEL};
use cura_store::{Database, StoreError};
use futures_util::future::join;
use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval};

/// How often the rows are read, whatever was notified.
const READ_INTERVAL: Duration = Duration::from_secs(1);
/// How often the connection that listens is asked whether it still works.
const LISTENER_CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// The pause before a lost connection is replaced.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// An operator has switched it off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0} is switched off")]
pub struct SwitchedOff(pub Switch);

/// The switches as this server knows them. Cheap to clone.
#[derive(Clone)]
pub struct Switches {
    database: Database,
    off: Arc<Off>,
}

/// What is switched off.
#[derive(Default)]
struct Off {
    registration: AtomicBool,
    uploads: AtomicBool,
}

impl Off {
    const fn flag(&self, switch: Switch) -> &AtomicBool {
        match switch {
            Switch::Registration => &self.registration,
            Switch::Uploads => &self.uploads,
        }
    }
}

impl Switches {
    /// Everything is on until it was read, which happens while [`Self::run`] runs.
    pub fn new(database: Database) -> Self {
        Self {
            database,
            off: Arc::default(),
        }
    }

    /// Whether it can be done. Asks nobody.
    ///
    /// # Errors
    /// [`SwitchedOff`] if an operator does not want it.
    pub fn require(&self, switch: Switch) -> Result<(), SwitchedOff> {
        if self.off.flag(switch).load(Ordering::Relaxed) {
            return Err(SwitchedOff(switch));
        }
        Ok(())
    }

    /// Follows what operators do until dropped. Runs once per server.
    pub async fn run(self) {
        join(self.keep_listening(), self.keep_reading()).await;
    }

    async fn keep_reading(&self) {
        let mut ticks = interval(READ_INTERVAL);
        // After a slow read, not many at once.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.read().await;
        }
    }

    async fn keep_listening(&self) {
        loop {
            let lost = self.listen().await;
            let error = lost.err().map(tracing::field::display);
            tracing::debug!(error, "the connection that listens for switches was lost; reconnecting");
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
    }

    /// Reads the rows at each notification, until the connection is lost.
    async fn listen(&self) -> Result<(), StoreError> {
        let mut listener = self.database.listen(SWITCHES_CHANNEL).await?;
        loop {
            match tokio::time::timeout(LISTENER_CHECK_INTERVAL, listener.next()).await {
                Ok(Ok(Some(_))) => self.read().await,
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Err(_) => listener.check().await?,
            }
        }
    }

    async fn read(&self) {
        let read = self
            .database
            .connection(async |connection| switches::list(connection).await);
        match read.await {
            Ok(states) => {
                for state in states {
                    let was_off = self.off.flag(state.name).swap(!state.is_on, Ordering::Relaxed);
                    if was_off == state.is_on {
                        tracing::info!(switch = %state.name, is_on = state.is_on, "an operator has switched");
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "the switches could not be read; what was known counts"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_never_read_is_on_and_what_was_known_counts_while_postgres_is_away() {
        let database = Database::connect_lazy("postgres://127.0.0.1:1/none", "test", 1).unwrap();
        let switches = Switches::new(database);
        switches.read().await;
        assert_eq!(switches.require(Switch::Uploads), Ok(()));
        switches.off.uploads.store(true, Ordering::Relaxed);
        switches.read().await;
        assert_eq!(switches.require(Switch::Uploads), Err(SwitchedOff(Switch::Uploads)));
        assert_eq!(switches.require(Switch::Registration), Ok(()));
    }
}
