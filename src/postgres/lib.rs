//! The rules for Postgres that the store and the queue share, which do not know each other: which errors are temporary, and
//! how to subscribe to notifications.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgPoolOptions};

/// How long a caller waits for a free connection.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// Whether an error is temporary: the same statement may succeed later.
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // SQLSTATE classes: 08 connection, 53 resources, 57P operator intervention; 55P03 lock and 57014 statement timeout;
        // 40P01 deadlock and 40001 serialization: a retry succeeds.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.starts_with("08")
                || code.starts_with("53")
                || code.starts_with("57P")
                || code == "57014"
                || code == "55P03"
                || code == "40P01"
                || code == "40001"
        }),
        _ => false,
    }
}

/// Subscribes to `channels` on a connection of its own, to the same server as `pool`.
///
/// Not on one of the pool: when sqlx drops a silent connection it occupies its slot until the operating system gives it up,
/// and the pool must not miss that slot.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn listen(pool: &PgPool, application: Option<&str>, channels: &[&str]) -> Result<PgListener, sqlx::Error> {
    let mut options = pool.connect_options().as_ref().clone();
    if let Some(application) = application {
        options = options.application_name(application);
    }
    let own = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with(options);
    let mut listener = PgListener::connect_with(&own).await?;
    listener.listen_all(channels.iter().copied()).await?;
    Ok(listener)
}
