//! The connection pool: never waits long, never runs a statement for ever, never gives out a dead connection.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};

use crate::StoreError;

/// How long a caller waits for a connection before the database counts as unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a use case may wait for Postgres in all. A server that is frozen, or a network that swallows everything,
/// says nothing: then we do.
const DEADLINE: Duration = Duration::from_secs(5);
/// A connection that was used within this time is believed to live.
const FRESH: Duration = Duration::from_millis(500);
/// How long a connection has to say that it lives.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// A pool for `url`; connects when first used, so it can be made while Postgres is down.
///
/// Statements are cut after 10 s, waits for a lock after 5 s, forgotten transactions after 5 s: a frozen worker's
/// locks must not keep anybody waiting.
///
/// # Errors
/// When `url` is not a Postgres URL.
pub fn connect_lazy(url: &str, application: &str, max_connections: u32) -> Result<PgPool, StoreError> {
    let options = PgConnectOptions::from_str(url)?.application_name(application).options([
        ("statement_timeout", "10s"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "5s"),
        ("timezone", "UTC"),
    ]);
    Ok(PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .max_lifetime(Duration::from_secs(30 * 60))
        .idle_timeout(Duration::from_secs(5 * 60))
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                // After a restart of Postgres every idle connection is dead.
                if meta.idle_for > FRESH {
                    answers(connection).await?;
                }
                Ok(true)
            })
        })
        // A query that was given up leaves its connection waiting; sqlx would wait with it, and keep its place.
        .after_release(|connection, _| Box::pin(async move { answers(connection).await.map(|()| true) }))
        .connect_lazy_with(options))
}

/// A pool for changing the schema: an index may take its time, and whoever migrates at the same time waits for it.
///
/// # Errors
/// When `url` is not a Postgres URL.
pub fn connect_for_migrations(url: &str, application: &str) -> Result<PgPool, StoreError> {
    let options = PgConnectOptions::from_str(url)?.application_name(application).options([
        ("statement_timeout", "0"),
        ("lock_timeout", "0"),
        ("idle_in_transaction_session_timeout", "0"),
        ("timezone", "UTC"),
    ]);
    Ok(PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options))
}

/// What is announced on `channel`, on a connection of its own: one that went silent keeps its place until the operating
/// system gives it up, and nobody else should miss it.
///
/// # Errors
/// When Postgres does not answer.
pub async fn listen(pool: &PgPool, channel: &str) -> Result<PgListener, sqlx::Error> {
    let own = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with(pool.connect_options().as_ref().clone());
    let mut listener = PgListener::connect_with(&own).await?;
    listener.listen(channel).await?;
    Ok(listener)
}

async fn answers(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    match tokio::time::timeout(PING_TIMEOUT, connection.ping()).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

/// `work`, unless Postgres says nothing for 5 s; what it has not committed by then is rolled back, or was committed
/// without our knowing.
///
/// # Errors
/// [`StoreError::Unavailable`] when the time is over, else what `work` says.
pub async fn in_time<T, E: From<StoreError>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(done) => done,
        Err(_) => Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut).into()),
    }
}

/// Asks Postgres for a sign of life.
///
/// # Errors
/// When there is none.
pub async fn ping(pool: &PgPool) -> Result<(), StoreError> {
    sqlx::query("SELECT 1").execute(pool).await?;
    Ok(())
}
