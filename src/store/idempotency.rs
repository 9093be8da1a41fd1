//! Idempotency keys: a key of a user stands for one request as long as the key is valid. It is stored with what the request makes
//! ([`crate::asking`] for messages). A key that stands for a message stands for no upload, and the other way round: the hashes of their
//! requests differ.

use chrono::{DateTime, Utc};
use cura_domain::{FileId, MessageId, UserId};
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

/// The upload that first used a key.
#[derive(Debug, Clone)]
pub struct UploadKeyUse {
    /// SHA-256 of the request, which may have been no upload.
    pub request_hash: Vec<u8>,
    /// The file; `None` when it was deleted since.
    pub file: Option<FileId>,
}

/// The first use of a key, if it was at or after `not_before`, as an upload sees it.
pub async fn find_upload(
    conn: &mut PgConnection,
    user: UserId,
    key: &str,
    not_before: DateTime<Utc>,
) -> Result<Option<UploadKeyUse>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT k.request_hash, f.id AS "file?"
           FROM idempotency_keys k LEFT JOIN files f ON f.id = k.file_id AND f.status <> 'storing'
           WHERE k.user_id = $1 AND k.key = $2 AND k.created_at >= $3"#,
        user.0,
        key,
        not_before,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| UploadKeyUse {
        request_hash: row.request_hash,
        file: row.file.map(FileId),
    }))
}

/// Makes a key stand for an upload, in place of what it stood for before it expired. The caller holds the user alone, and has looked for
/// the key.
pub async fn insert_upload(
    conn: &mut PgConnection,
    user: UserId,
    key: &str,
    request_hash: &[u8; 32],
    file: FileId,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO idempotency_keys (user_id, key, request_hash, file_id, created_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (user_id, key) DO UPDATE
         SET request_hash = EXCLUDED.request_hash, user_message_id = NULL, answer_id = NULL, file_id = EXCLUDED.file_id,
             created_at = EXCLUDED.created_at",
        user.0,
        key,
        request_hash.as_slice(),
        file.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
