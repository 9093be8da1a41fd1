//! What a failover leaves behind: sessions that cannot write, at a server that is a standby by now or that was made read only.
//!
//! One of them is noticed when it refuses a write, when it is opened, or when a probe asks. Every session that was opened before
//! is suspect then: pools replace those, and subscriptions begin again. A process has one Postgres, so there is one mark for all
//! of its pools.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Executor, PgConnection, Postgres, Row};
use tokio::sync::watch;

/// SQLSTATE `read_only_sql_transaction`: a write on a standby, or in a session that is read only.
pub(crate) const READ_ONLY: &str = "25006";
/// What a session is asked; it is also `on` for every session of a standby.
pub(crate) const IS_READ_ONLY: &str = "current_setting('transaction_read_only') = 'on'";
/// How long a session may take to end itself.
const END_TIMEOUT: Duration = Duration::from_millis(500);
/// Read-only sessions that are noticed within this time of each other are one outage, and one line in the log.
const ONE_OUTAGE: Duration = Duration::from_secs(60);

/// When a read-only session was last noticed.
static NOTICED: LazyLock<watch::Sender<Option<Instant>>> = LazyLock::new(|| watch::Sender::new(None));

/// Read-only sessions that are noticed from its creation on.
#[derive(Debug)]
pub struct ReadOnlySessions(watch::Receiver<Option<Instant>>);

impl ReadOnlySessions {
    /// None has been noticed yet.
    pub fn from_now() -> Self {
        Self(NOTICED.subscribe())
    }

    /// # Errors
    /// When one has been noticed: then a session that was opened meanwhile may be another.
    pub fn none_noticed(&self) -> Result<(), sqlx::Error> {
        // Without a sender there is no change; the sender is static.
        if self.0.has_changed().unwrap_or(false) {
            Err(error())
        } else {
            Ok(())
        }
    }

    /// Waits until one is noticed. Cancel safe.
    pub async fn noticed(&mut self) -> sqlx::Error {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        error()
    }
}

/// Takes note of what an error says about sessions: that one is read only.
pub fn note(error: &sqlx::Error) {
    let code = error.as_database_error().and_then(|error| error.code());
    if code.as_deref() == Some(READ_ONLY) {
        notice();
    }
}

/// Checks that a session accepts writes. One round trip.
///
/// # Errors
/// When it does not, which is noted, or when Postgres does not answer.
pub async fn accepts_writes(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    // Not a prepared statement: a pooler may run it on any session.
    let asked = AssertSqlSafe(format!("SELECT {IS_READ_ONLY}"));
    let row = connection.fetch_one(sqlx::raw_sql(asked)).await?;
    if row.try_get(0)? {
        notice();
        end_if_read_only(&mut *connection).await;
        return Err(error());
    }
    Ok(())
}

/// Ends a session at its server if it is read only, not only our side of it: a pooler would hand it out again. A role may end its
/// own sessions. Whether it succeeds does not matter: the session is dropped, and asked again if a pooler hands it out.
pub(crate) async fn end_if_read_only<'c>(session: impl Executor<'c, Database = Postgres>) {
    // It asks again, in the same statement: behind a pooler this may be another session by now.
    let end = AssertSqlSafe(format!(
        "SELECT pg_terminate_backend(pg_backend_pid()) WHERE {IS_READ_ONLY}"
    ));
    let _ = tokio::time::timeout(END_TIMEOUT, session.execute(sqlx::raw_sql(end))).await;
}

/// Notes that a read-only session was found.
pub(crate) fn notice() {
    let before = NOTICED.send_replace(Some(Instant::now()));
    if before.is_none_or(|before| before.elapsed() > ONE_OUTAGE) {
        tracing::warn!(
            "Postgres is read only, or was at a failover; connections are replaced until one accepts writes"
        );
    }
}

/// Whether a session of this age may be read only: one was noticed since it was opened.
pub(crate) fn is_suspect(age: Duration) -> bool {
    NOTICED.borrow().is_some_and(|noticed| noticed.elapsed() <= age)
}

pub(crate) fn error() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(
        std::io::ErrorKind::ReadOnlyFilesystem,
        "the session is read only",
    ))
}
