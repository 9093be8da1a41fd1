//! The time a statement of the queue may take.

use std::time::Duration;

use crate::QueueError;

/// How long one statement may take.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(2);

/// `work`, unless Postgres says nothing for too long.
pub(crate) async fn with_timeout<T>(work: impl Future<Output = Result<T, QueueError>>) -> Result<T, QueueError> {
    match tokio::time::timeout(STATEMENT_TIMEOUT, work).await {
        Ok(done) => done,
        Err(_) => Err(QueueError::Database(sqlx::Error::PoolTimedOut)),
    }
}
