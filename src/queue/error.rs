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
            Self::Database(error) => cura_postgres::is_unavailable(error),
            Self::Payload(_) => false,
        }
    }

    /// Whether another transaction holds the lock of a row for too long (SQLSTATE 55P03).
    pub(crate) fn is_lock_timeout(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => error.code().as_deref() == Some("55P03"),
            Self::Database(_) | Self::Payload(_) => false,
        }
    }
}
