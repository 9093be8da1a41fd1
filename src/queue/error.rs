//! What can go wrong between us and the queue.

use thiserror::Error;

/// A queue operation failed.
#[derive(Debug, Error)]
pub enum QueueError {
    /// Postgres said no, or nothing.
    #[error("the queue's query failed: {0}")]
    Database(#[from] sqlx::Error),
    /// A payload that cannot be written as JSON.
    #[error("a payload cannot be encoded")]
    Payload(#[from] serde_json::Error),
}
