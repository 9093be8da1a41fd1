//! Subscriptions to notifications that Postgres sends at COMMIT.

use std::time::Duration;

use sqlx::postgres::PgListener;

use crate::{Database, StoreError};

/// How long the connection may take to prove that it works.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// A subscription to one channel, on a connection of its own.
pub struct Listener(PgListener);

impl Database {
    /// Subscribes to `channel`.
    ///
    /// # Errors
    /// When Postgres cannot be reached.
    pub async fn listen(&self, channel: &str) -> Result<Listener, StoreError> {
        Ok(Listener(cura_postgres::listen(self.pool(), None, &[channel]).await?))
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
        // Not `SELECT 1`: this one tells the listening connections in pg_stat_activity from the others.
        let asked = sqlx::query("SELECT 'still there'").execute(&mut self.0);
        match tokio::time::timeout(CHECK_TIMEOUT, asked).await {
            Ok(answer) => Ok(answer.map(drop)?),
            Err(_) => Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut)),
        }
    }
}
