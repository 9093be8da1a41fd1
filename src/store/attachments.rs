//! The files of messages. The rows of a message come with it, in one transaction; a file that is deleted leaves its messages.

use chrono::{DateTime, Utc};
use cura_domain::file::File;
use cura_domain::{FileId, MessageId, UserId};
use sqlx::PgConnection;

use crate::StoreError;
use crate::files::{self, FileRow};

/// Those of these files that are stored and belong to `user`. They neither change nor go until the transaction ends: a scan that ends
/// meanwhile waits.
pub async fn hold(transaction: &mut PgConnection, user: UserId, ids: &[FileId]) -> Result<Vec<File>, StoreError> {
    let all: Vec<i64> = ids.iter().map(|id| id.0).collect();
    sqlx::query_scalar!(
        "SELECT id FROM files WHERE id = ANY($1) AND user_id = $2 AND status <> 'storing' ORDER BY id FOR SHARE",
        &all,
        user.0,
    )
    .fetch_all(&mut *transaction)
    .await?;
    // A statement of its own: the lock may have waited for a scan, of which the statement before sees too little.
    files::list_owned(transaction, user, ids).await
}

/// Gives a new message its files, in this order. The transaction holds them.
pub async fn insert(transaction: &mut PgConnection, message: MessageId, ids: &[FileId]) -> Result<(), StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    sqlx::query!(
        "INSERT INTO message_files (message_id, file_id, position)
         SELECT $1, file_id, (place - 1)::smallint FROM unnest($2::bigint[]) WITH ORDINALITY AS given (file_id, place)",
        message.0,
        &ids,
    )
    .execute(transaction)
    .await?;
    Ok(())
}

/// The files of these messages of `user`: of each message in its order, one message after the other.
pub async fn list(
    conn: &mut PgConnection,
    user: UserId,
    messages: &[MessageId],
) -> Result<Vec<(MessageId, File)>, StoreError> {
    let messages: Vec<i64> = messages.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        r#"SELECT a.message_id AS of_message, f.id, f.filename, f.file_type, f.size, f.sha256, f.status, f.reason_code, f.reason_signature,
                  f.findings, f.created_at,
                  -- Not EXISTS, for which the planner may read the whole table.
                  (SELECT count(*) FROM file_pictures p WHERE p.file_id = f.id AND p.variant = 'thumb' AND p.is_stored) > 0 AS "has_thumbnail!",
                  -- By the file, not in the order of messages: hence the sum. The conversation is looked up for each, not joined.
                  (SELECT min(b.message_id + 0) FROM message_files b
                   WHERE b.file_id = f.id AND (SELECT c.deleted_at IS NULL FROM messages m JOIN conversations c ON c.id = m.conversation_id
                                               WHERE m.id = b.message_id)) AS message_id
           FROM message_files a JOIN files f ON f.id = a.file_id
           WHERE a.message_id = ANY($1) AND f.user_id = $2 AND f.status <> 'storing'
           ORDER BY a.message_id, a.position"#,
        &messages,
        user.0,
    )
    .fetch_all(conn)
    .await?;
    let files = rows.into_iter().map(|row| {
        let message = MessageId(row.of_message);
        let file = FileRow {
            id: row.id,
            filename: row.filename,
            file_type: row.file_type,
            size: row.size,
            sha256: row.sha256,
            status: row.status,
            reason_code: row.reason_code,
            reason_signature: row.reason_signature,
            findings: row.findings,
            has_thumbnail: row.has_thumbnail,
            message_id: row.message_id,
            created_at: row.created_at,
        };
        Ok((message, File::try_from(file)?))
    });
    files.collect()
}

/// Since when an answer waits, if a file of its question is being scanned: when it was asked for. `None` if it has begun, or is to be
/// cancelled.
pub async fn waits_for_scans_since(
    conn: &mut PgConnection,
    answer: MessageId,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    Ok(sqlx::query_scalar!(
        "SELECT m.created_at FROM messages m
         WHERE m.id = $1 AND m.status = 'sending' AND m.attempt = 0 AND m.cancel_requested_at IS NULL
           AND (SELECT count(*) FROM message_files a JOIN files f ON f.id = a.file_id
                WHERE a.message_id = m.parent_id AND f.status = 'scanning') > 0",
        answer.0,
    )
    .fetch_optional(conn)
    .await?)
}

/// The answers of `user` that have not begun, and whose question has this file.
pub async fn list_waiting_answers(
    conn: &mut PgConnection,
    user: UserId,
    file: FileId,
) -> Result<Vec<MessageId>, StoreError> {
    let waiting = sqlx::query_scalar!(
        "SELECT m.id FROM messages m
         WHERE m.user_id = $1 AND m.running AND m.attempt = 0
           AND m.parent_id = ANY(ARRAY(SELECT message_id FROM message_files WHERE file_id = $2))",
        user.0,
        file.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(waiting.into_iter().map(MessageId).collect())
}
