//! Subscriptions to notifications that Postgres sends at COMMIT.

use std::io::{self, ErrorKind};
use std::time::Duration;

use sqlx::postgres::{PgListener, PgNotification};
use sqlx::{Executor, PgPool, Row};

use crate::failover::{IS_READ_ONLY, ReadOnlySessions, end_if_read_only, notice};
use crate::session::{SETTINGS, SessionSetting, pool_options};

/// How long the connection may take to subscribe, or to prove that it works.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// A subscription to some channels, on a connection of its own. It ends with that connection: what is notified while there is none
/// is heard by nobody, so who needs it begins a new one, and then looks for what was missed.
pub struct Subscription {
    /// `None` once its connection was lost: it would make another one by itself.
    listener: Option<PgListener>,
    read_only: ReadOnlySessions,
}

impl Subscription {
    /// Subscribes to `channels`, at the server of `pool`.
    ///
    /// Not on a connection of the pool: when sqlx drops a silent connection it occupies its slot until the operating system gives
    /// it up, and the pool must not miss that slot.
    ///
    /// # Errors
    /// When Postgres cannot be reached, does not answer in time, or is read only.
    pub async fn begin(pool: &PgPool, application: Option<&str>, channels: &[&str]) -> Result<Self, sqlx::Error> {
        Self::begin_with(&SETTINGS, pool, application, channels).await
    }

    pub(crate) async fn begin_with(
        settings: &[SessionSetting],
        pool: &PgPool,
        application: Option<&str>,
        channels: &[&str],
    ) -> Result<Self, sqlx::Error> {
        let mut options = pool.connect_options().as_ref().clone();
        if let Some(application) = application {
            options = options.application_name(application);
        }
        let own = pool_options(settings)
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(options);
        let read_only = ReadOnlySessions::from_now();
        let mut listener = PgListener::connect_with(&own).await?;
        read_only.none_noticed()?;
        // Whoever stops waiting while it connects again would never learn that it had to.
        listener.eager_reconnect(false);
        in_time(listener.listen_all(channels.iter().copied())).await?;
        Ok(Self {
            listener: Some(listener),
            read_only,
        })
    }

    /// The next notification; `None` when the connection was lost: the subscription is over. Cancel safe.
    ///
    /// # Errors
    /// When the connection does not work or was lost before, or when sessions that are read only were noticed: the server that was
    /// subscribed to may not be the one that others write to any more.
    pub async fn next(&mut self) -> Result<Option<PgNotification>, sqlx::Error> {
        let listener = self.listener.as_mut().ok_or_else(lost)?;
        let next = tokio::select! {
            next = listener.try_recv() => next?,
            read_only = self.read_only.noticed() => return Err(read_only),
        };
        if next.is_none() {
            self.listener = None;
        }
        Ok(next)
    }

    /// The next notification that has arrived already, without waiting.
    pub fn next_arrived(&mut self) -> Option<PgNotification> {
        self.listener.as_mut()?.next_buffered()
    }

    /// Checks that the connection still works, and that its server is still written to: a connection that a network has dropped,
    /// or to a server that is a standby by now, is as silent as a channel without notifications.
    ///
    /// # Errors
    /// When it was lost, does not answer within two seconds, or is read only.
    pub async fn check(&mut self) -> Result<(), sqlx::Error> {
        let asked = sqlx::AssertSqlSafe(format!("SELECT {IS_READ_ONLY} /* listening */"));
        let listener = self.listener.as_mut().ok_or_else(lost)?;
        let row = in_time(listener.fetch_one(asked)).await?;
        if row.try_get(0)? {
            notice();
            end_if_read_only(listener).await;
        }
        self.read_only.none_noticed()
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    match tokio::time::timeout(CHECK_TIMEOUT, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

fn lost() -> sqlx::Error {
    let error = io::Error::new(ErrorKind::NotConnected, "the connection that listens was lost");
    sqlx::Error::Io(error)
}
