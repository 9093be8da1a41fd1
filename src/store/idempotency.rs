//! Idempotency keys: the same key of the same user stands for one send, for as long as the key lives.

use chrono::{DateTime, Utc};
use cura_domain::{MessageId, UserId};
use sqlx::PgConnection;

use crate::StoreError;

/// What a key was first used for.
#[derive(Debug, Clone)]
pub struct KeyUse {
    /// SHA-256 of the request.
    pub request_hash: Vec<u8>,
    /// The user's message it made, and the answer it asked for; `None` when they were deleted since.
    pub made: Option<(MessageId, MessageId)>,
}

/// What a key stands for, if it was used since `not_before`.
///
/// # Errors
/// When Postgres fails.
pub async fn find(
    conn: &mut PgConnection,
    user: UserId,
    key: &str,
    not_before: DateTime<Utc>,
) -> Result<Option<KeyUse>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT request_hash, user_message_id, answer_id
           FROM idempotency_keys WHERE user_id = $1 AND key = $2 AND created_at >= $3"#,
        user.0,
        key,
        not_before,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| KeyUse {
        request_hash: row.request_hash,
        made: row.user_message_id.map(MessageId).zip(row.answer_id.map(MessageId)),
    }))
}

/// Takes a key for this transaction; `false` when another one has it. Waits for a transaction that is just taking it.
/// A key older than `not_before` is dead and taken over.
///
/// # Errors
/// When Postgres fails.
pub async fn claim(
    conn: &mut PgConnection,
    user: UserId,
    key: &str,
    request_hash: &[u8; 32],
    now: DateTime<Utc>,
    not_before: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"INSERT INTO idempotency_keys AS k (user_id, key, request_hash, created_at) VALUES ($1, $2, $3, $4)
           ON CONFLICT (user_id, key) DO UPDATE
           SET request_hash = $3, created_at = $4, user_message_id = NULL, answer_id = NULL
           WHERE k.created_at < $5"#,
        user.0,
        key,
        request_hash.as_slice(),
        now,
        not_before,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes down what a claimed key stands for.
///
/// # Errors
/// When Postgres fails.
pub async fn bind(
    conn: &mut PgConnection,
    user: UserId,
    key: &str,
    user_message: MessageId,
    answer: MessageId,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE idempotency_keys SET user_message_id = $3, answer_id = $4 WHERE user_id = $1 AND key = $2",
        user.0,
        key,
        user_message.0,
        answer.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}
