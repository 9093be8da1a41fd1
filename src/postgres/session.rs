//! How sessions begin, are checked and replaced.
//!
//! Settings are made after connecting, in the round trip that asks whether the session accepts writes: a pooler refuses them among
//! the parameters of the start.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Row};

use crate::failover;

/// How long a caller waits for a free connection.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a connection may take to answer a ping.
pub const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection used within this time is assumed to work.
pub(crate) const FRESH: Duration = Duration::from_millis(500);

/// The name and the value of a setting. Both are constants, never input.
pub type SessionSetting = (&'static str, &'static str);

/// The settings of every session. Transactions idle for 5 s are aborted: the locks of a frozen process must not block others.
/// Nothing is compiled: no statement of ours runs long enough to gain by it, and a plan that the planner thinks dear, as one that
/// reads a table where it was told not to, would be compiled each time, which takes a second.
pub const SETTINGS: [SessionSetting; 5] = [
    ("statement_timeout", "10s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "5s"),
    ("timezone", "UTC"),
    ("jit", "off"),
];

/// How to connect to `url`, with nothing at the start of a session that a pooler refuses.
///
/// # Errors
/// When `url` is not a Postgres URL.
pub fn connect_options(url: &str, application: &str) -> Result<PgConnectOptions, sqlx::Error> {
    // Results are binary, so how floats are written does not matter.
    let options = PgConnectOptions::from_str(url)?.extra_float_digits(None);
    Ok(options.application_name(application))
}

/// Options of a pool whose sessions have these settings, and which hands out no connection that is dead, and none that was opened
/// before a read-only session was noticed. Without settings for sessions that a pooler exchanges with each transaction.
pub fn pool_options(settings: &[SessionSetting]) -> PgPoolOptions {
    let begin: Arc<str> = begin(settings).into();
    PgPoolOptions::new()
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .max_lifetime(Duration::from_secs(30 * 60))
        .idle_timeout(Duration::from_secs(5 * 60))
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let begin = Arc::clone(&begin);
            Box::pin(async move { set_up(connection, &begin).await })
        })
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if failover::is_suspect(meta.age) {
                    failover::end_if_read_only(connection).await;
                    return Ok(false);
                }
                // After a restart of Postgres every idle connection is dead.
                if meta.idle_for > FRESH {
                    ping(connection).await?;
                }
                Ok(true)
            })
        })
        // An abandoned query leaves its connection waiting for the answer; sqlx would wait too and occupy the slot.
        .after_release(|connection, meta| {
            Box::pin(async move {
                ping(connection).await?;
                let is_suspect = failover::is_suspect(meta.age);
                if is_suspect {
                    failover::end_if_read_only(connection).await;
                }
                Ok(!is_suspect)
            })
        })
}

/// A pool for what looks at the database beside everything else: it writes nothing, waits for nobody, and gives a statement as long as this
/// before Postgres ends it. Its sessions are read only because we say so, so none of them says anything about a failover.
///
/// # Errors
/// When `url` is not a Postgres URL.
pub fn reading_pool(
    url: &str,
    application: &str,
    max_connections: u32,
    statement_timeout: Duration,
) -> Result<PgPool, sqlx::Error> {
    // On one processor: what is computed for others comes first.
    let begin: Arc<str> = format!(
        "SET default_transaction_read_only = on; SET statement_timeout = {}; SET lock_timeout = 1000; \
         SET idle_in_transaction_session_timeout = 5000; SET timezone = 'UTC'; SET jit = off; \
         SET max_parallel_workers_per_gather = 0",
        statement_timeout.as_millis()
    )
    .into();
    let pool = PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(statement_timeout)
        .max_lifetime(Duration::from_secs(30 * 60))
        .idle_timeout(Duration::from_secs(60))
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > FRESH {
                    ping(connection).await?;
                }
                Ok(true)
            })
        })
        // As of the other pools: an abandoned statement waits for an answer that may never come.
        .after_release(|connection, _| {
            Box::pin(async move {
                ping(connection).await?;
                Ok(true)
            })
        })
        .after_connect(move |connection, _| {
            let begin = Arc::clone(&begin);
            Box::pin(async move {
                connection
                    .execute(sqlx::raw_sql(AssertSqlSafe(&*begin)))
                    .await
                    .map(drop)
            })
        });
    Ok(pool.connect_lazy_with(connect_options(url, application)?))
}

/// The statement with which a session begins: makes its settings, and says whether it is read only.
fn begin(settings: &[SessionSetting]) -> String {
    let made: String = settings
        .iter()
        .map(|(name, value)| format!(", set_config('{name}', '{value}', false)"))
        .collect();
    format!("SELECT {}{made}", failover::IS_READ_ONLY)
}

/// Sets a new session up. One that is read only is noted and ended, and refused by whoever opened it.
async fn set_up(connection: &mut PgConnection, begin: &str) -> Result<(), sqlx::Error> {
    // Not a prepared statement: a pooler may run it on any session.
    let begun = connection.fetch_one(sqlx::raw_sql(AssertSqlSafe(begin))).await;
    match begun.and_then(|row| row.try_get(0)) {
        Ok(true) => {
            failover::notice();
            failover::end_if_read_only(connection).await;
        }
        Ok(false) => {}
        // What uses a dead connection learns that it is dead; sqlx would go on connecting, with an error in the log each time.
        Err(_) if ping(connection).await.is_err() => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

pub(crate) async fn ping(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    match tokio::time::timeout(PING_TIMEOUT, connection.ping()).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_begins_with_one_statement() {
        assert_eq!(
            begin(&[("timezone", "UTC"), ("lock_timeout", "5s")]),
            "SELECT current_setting('transaction_read_only') = 'on', set_config('timezone', 'UTC', false), \
             set_config('lock_timeout', '5s', false)"
        );
    }
}
