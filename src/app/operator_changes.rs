//! What operators change without a deploy reaches every server within two seconds: what is switched off, and what is announced.
//!
//! Triggers notify every server at COMMIT, and every server reads the rows once a second, whatever was notified: one connection listens for
//! both, and one reads both. While Postgres is away, what was known last counts.

use std::sync::Arc;
use std::time::Duration;

use cura_store::announcements::{self, ANNOUNCEMENTS_CHANNEL};
use cura_store::switches::{self, SWITCHES_CHANNEL};
use cura_store::{Database, StoreError};
use futures_util::future::join;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use crate::announcements::Announcements;
use crate::switches::Switches;

/// How often the rows are read, whatever was notified.
const READ_INTERVAL: Duration = Duration::from_secs(1);
/// How often the connection that listens is asked whether it still works.
const LISTENER_CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// The pause before a lost connection is replaced.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Keeps what a server knows of what operators change. Cheap to clone.
#[derive(Clone)]
pub struct OperatorChanges {
    database: Database,
    switches: Switches,
    announcements: Announcements,
    /// One reads: what was read earlier would else replace what was read later.
    wake: Arc<Notify>,
}

impl OperatorChanges {
    /// Nothing is known yet. `switches` and `announcements` learn of changes while [`Self::run`] runs.
    pub fn new(database: Database, switches: Switches, announcements: Announcements) -> Self {
        Self {
            database,
            switches,
            announcements,
            wake: Arc::default(),
        }
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
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.wake.notified() => {}
            }
            self.read().await;
        }
    }

    async fn keep_listening(&self) {
        loop {
            let lost = self.listen().await;
            let error = lost.err().map(tracing::field::display);
            tracing::debug!(
                error,
                "the connection that listens for what operators change was lost; reconnecting"
            );
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
    }

    /// Has the rows read at each notification, until the connection is lost.
    async fn listen(&self) -> Result<(), StoreError> {
        let channels = [SWITCHES_CHANNEL, ANNOUNCEMENTS_CHANNEL];
        let mut listener = self.database.listen(&channels).await?;
        loop {
            match tokio::time::timeout(LISTENER_CHECK_INTERVAL, listener.next()).await {
                Ok(Ok(Some(_))) => self.wake.notify_one(),
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Err(_) => listener.check().await?,
            }
        }
    }

    async fn read(&self) {
        let now = self.announcements.clock().now_micros();
        let read = self.database.connection(async |connection| {
            // Switches first: they do not depend on the other table.
            self.switches.apply(&switches::list(connection).await?);
            self.announcements
                .apply(announcements::list_living(connection, now).await?);
            Ok::<_, StoreError>(())
        });
        if let Err(error) = read.await {
            tracing::debug!(%error, "what operators changed could not be read; what was known counts");
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use cura_domain::Clock;
    use cura_domain::switch::Switch;
    use cura_store::switches::SwitchState;

    use super::*;
    use crate::switches::SwitchedOff;

    #[tokio::test]
    async fn what_was_known_counts_while_postgres_is_away() {
        let database = Database::connect_lazy("postgres://127.0.0.1:1/none", "test", 1).unwrap();
        let switches = Switches::default();
        let clock = Clock::new(|| DateTime::UNIX_EPOCH);
        let changes = OperatorChanges::new(database, switches.clone(), Announcements::new(clock));
        changes.read().await;
        assert_eq!(switches.require(Switch::Uploads), Ok(()));
        switches.apply(&[SwitchState {
            name: Switch::Uploads,
            is_on: false,
            reason: None,
            changed_at: None,
        }]);
        changes.read().await;
        assert_eq!(switches.require(Switch::Uploads), Err(SwitchedOff(Switch::Uploads)));
        assert_eq!(switches.require(Switch::Registration), Ok(()));
    }
}
