//! How long the queue waits for Postgres.

use std::time::Duration;

use crate::error::QueueError;

/// The longest one statement, or the wait for a connection, may take.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs `work`; an error that means "unavailable" after [`STATEMENT_TIMEOUT`].
pub(crate) async fn with_timeout<T>(work: impl Future<Output = Result<T, QueueError>>) -> Result<T, QueueError> {
    match tokio::time::timeout(STATEMENT_TIMEOUT, work).await {
        Ok(done) => done,
        Err(_) => Err(QueueError::Database(sqlx::Error::PoolTimedOut)),
    }
}
