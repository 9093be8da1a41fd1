//! Idempotency keys: a key of a user stands for one request as long as the key is valid.

use chrono::{DateTime, Utc};
use cura_domain::{MessageId, UserId};
use sqlx::PgConnection;

use crate::StoreError;

/// The request that first used a key.
#[derive(Debug, Clone)]
pub struct KeyUse {
    /// SHA-256 of the request.
    pub request_hash: Vec<u8>,
    /// The message and the answer that it stored; `None` when they were deleted since.
    pub made: Option<(MessageId, MessageId)>,
}

/// The first use of a key, if it was at or after `not_before`.
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

/// Claims a key for this transaction; `false` when another request has it. Waits for a transaction that is claiming it. A
/// key from before `not_before` has expired and is claimed anyway.
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

/// Stores what the request of a claimed key stored.
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
