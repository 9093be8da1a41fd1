//! Idempotency keys: a key of a user stands for one request as long as the key is valid. It is stored with what the request makes
//! ([`crate::asking`]).

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
        r#"SELECT k.request_hash, question.id AS "question?", answer.id AS "answer?"
           FROM idempotency_keys k LEFT JOIN messages question ON question.id = k.user_message_id
                LEFT JOIN messages answer ON answer.id = k.answer_id
           WHERE k.user_id = $1 AND k.key = $2 AND k.created_at >= $3"#,
        user.0,
        key,
        not_before,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| KeyUse {
        request_hash: row.request_hash,
        made: row.question.map(MessageId).zip(row.answer.map(MessageId)),
    }))
}
