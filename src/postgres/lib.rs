//! The rules for Postgres that the store and the queue share, which do not know each other: which errors are temporary, how a
//! session is set up and replaced after a failover, how to subscribe to notifications, and why a connection is refused.

mod check;
mod connections;
mod failover;
mod libpq;
mod refusal;
mod session;
mod subscription;

pub use check::{Url, check};
pub use connections::{Connections, Leased};
pub use failover::{ReadOnlySessions, accepts_writes, note};
pub use libpq::{libpq_environment, place_of, with_database};
pub use refusal::{Problem, Refusal};
pub use session::{
    ACQUIRE_TIMEOUT, PING_TIMEOUT, SETTINGS, SessionSetting, connect_options, pool_options, reading_pool,
};
pub use subscription::Subscription;

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
        // 40P01 deadlock and 40001 serialization: a retry succeeds. 25006: the session is read only after a failover; 25P03 and
        // 25P04: Postgres ended a transaction that was idle or open for too long, because this process was frozen.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["08", "53", "57P"].iter().any(|class| code.starts_with(class))
                || [
                    "57014",
                    "55P03",
                    "40P01",
                    "40001",
                    failover::READ_ONLY,
                    "25P03",
                    "25P04",
                ]
                .contains(&&*code)
        }),
        _ => false,
    }
}
