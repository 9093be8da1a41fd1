//! Subscriptions to notifications that Postgres sends at COMMIT.

use cura_postgres::Subscription;

use crate::{Database, StoreError};

/// A subscription to channels, on a connection of its own, with which it ends.
pub struct Listener(Subscription);

impl Database {
    /// Subscribes to `channels`.
    ///
    /// # Errors
    /// When Postgres cannot be reached, or accepts no writes.
    pub async fn listen(&self, channels: &[&str]) -> Result<Listener, StoreError> {
        Ok(Listener(Subscription::begin(self.pool(), None, channels).await?))
    }
}

impl Listener {
    /// The payload of the next notification; `None` when the connection was lost: from here on notifications are missed, until
    /// another subscription was made. Cancel safe.
    ///
    /// # Errors
    /// When the connection does not work or was lost before, or its server may not be the one that is written to any more.
    pub async fn next(&mut self) -> Result<Option<String>, StoreError> {
        let notification = self.0.next().await?;
        Ok(notification.map(|notification| notification.payload().to_owned()))
    }

    /// The payload of the next notification that has arrived already. After [`Self::check`], those of all transactions that had
    /// committed before it.
    pub fn next_heard(&mut self) -> Option<String> {
        let notification = self.0.next_arrived()?;
        Some(notification.payload().to_owned())
    }

    /// Checks that the connection still works, and that its server is still the one that is written to.
    ///
    /// # Errors
    /// When it was lost, does not answer within two seconds, or accepts no writes.
    pub async fn check(&mut self) -> Result<(), StoreError> {
        Ok(self.0.check().await?)
    }
}
