//! Subscriptions to notifications that Postgres sends at COMMIT.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};

use crate::database::ACQUIRE_TIMEOUT;
use crate::{Database, StoreError};

/// How long the connection may take to prove that it works.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// A subscription to one channel. It has a connection of its own: a silent one occupies its slot until the operating system
/// gives it up, and the pool must not miss it.
pub struct Listener(PgListener);

impl Database {
    /// Subscribes to `channel`.
    ///
    /// # Errors
    /// When Postgres cannot be reached.
    pub async fn listen(&self, channel: &str) -> Result<Listener, StoreError> {
        let own = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(self.pool().connect_options().as_ref().clone());
        let mut listener = PgListener::connect_with(&own).await?;
        listener.listen(channel).await?;
        Ok(Listener(listener))
    }
}

impl Listener {
    /// The payload of the next notification; `None` when the connection was lost: notifications may have been missed, and
    /// the next call connects again. Cancel safe.
    ///
    /// # Errors
    /// When Postgres cannot be reached.
    pub async fn next(&mut self) -> Result<Option<String>, StoreError> {
        let notification = self.0.try_recv().await?;
        Ok(notification.map(|notification| notification.payload().to_owned()))
    }

    /// Checks that the connection still works: one that a network has dropped is as silent as a channel without
    /// notifications.
    ///
    /// # Errors
    /// When it does not answer within two seconds.
    pub async fn check(&mut self) -> Result<(), StoreError> {
        let asked = sqlx::query("SELECT 1").execute(&mut self.0);
        match tokio::time::timeout(CHECK_TIMEOUT, asked).await {
            Ok(answer) => Ok(answer.map(drop)?),
            Err(_) => Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut)),
        }
    }
}
