//! Why a queue operation failed.

use thiserror::Error;

/// A queue operation failed.
#[derive(Debug, Error)]
pub enum QueueError {
    /// Postgres refused it, or could not be reached.
    #[error("the queue's query failed: {0}")]
    Database(#[from] sqlx::Error),
    /// A payload cannot be encoded as JSON.
    #[error("a payload cannot be encoded")]
    Payload(#[from] serde_json::Error),
}

impl From<QueueError> for sqlx::Error {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Database(error) => error,
            QueueError::Payload(error) => Self::Encode(Box::new(error)),
        }
    }
}

impl QueueError {
    /// Whether the same operation may succeed later.
    pub(crate) fn is_unavailable(&self) -> bool {
        match self {
            Self::Database(
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed,
            ) => true,
            // As the store sees it: no connection, no resources, an operator's doing, a lock or statement that took too
            // long, a deadlock or conflict.
            Self::Database(sqlx::Error::Database(error)) => error.code().is_some_and(|code| {
                ["08", "53", "57P", "57014", "55P03", "40P01", "40001"]
                    .iter()
                    .any(|temporary| code.starts_with(temporary))
            }),
            Self::Database(_) | Self::Payload(_) => false,
        }
    }
}
