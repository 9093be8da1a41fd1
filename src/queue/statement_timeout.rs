//! How long the queue waits for Postgres.

use std::time::Duration;

use crate::error::QueueError;

/// The longest one statement, or the wait for a connection, may take.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs `work`; an error that means "unavailable" after [`STATEMENT_TIMEOUT`]. A session that turns out to be read only is noted.
pub(crate) async fn with_timeout<T>(work: impl Future<Output = Result<T, QueueError>>) -> Result<T, QueueError> {
    match tokio::time::timeout(STATEMENT_TIMEOUT, work).await {
        Ok(done) => {
            if let Err(QueueError::Database(error)) = &done {
                cura_postgres::note(error);
            }
            done
        }
        Err(_) => Err(QueueError::Database(sqlx::Error::PoolTimedOut)),
    }
}
