//! Files that users upload. A row names its object in the file store before that exists, and whatever deletes a row lists the object for
//! deletion (migration 0047): so every object is named by a row, or is to be deleted.

mod known;

use std::time::Duration;

use chrono::{DateTime, Utc};
use cura_domain::file::{File, FileReason, FileStatus, Finding, MIN_COUNTED_BYTES};
use cura_domain::file_type::FileType;
use cura_domain::object_key::ObjectKey;
use cura_domain::{FileId, MessageId, UserId};
use sqlx::PgConnection;

use crate::StoreError;

pub use known::{KnownFiles, find_known, find_owner, list_known, list_known_of};

/// A file that the store is about to keep.
#[derive(Debug, Clone, Copy)]
pub struct NewFile<'a> {
    /// Its id, if it was taken from the sequence before; else it gets the next one.
    pub id: Option<FileId>,
    /// Whose.
    pub user: UserId,
    /// Where its bytes will be.
    pub key: &'a ObjectKey,
    /// The name that it is shown under.
    pub name: &'a str,
    /// What it is.
    pub file_type: FileType,
    /// In bytes.
    pub size: i64,
    /// Of its bytes.
    pub sha256: &'a [u8; 32],
}

/// How much a person keeps, in bytes, with what is made of it, what is being stored and what the file store has not deleted yet; the
/// smallest file counts for [`MIN_COUNTED_BYTES`]. An upload that arrives in parts counts from its beginning for all of its length; archives,
/// which are listed for deletion without a size, do not count. The caller holds the person alone, so that two uploads do not both take the last of
/// the room.
pub async fn kept_bytes(conn: &mut PgConnection, user: UserId) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT (COALESCE((SELECT sum(GREATEST(size, $2) + made_size) FROM files WHERE user_id = $1 AND status <> 'infected'), 0)
                   + COALESCE((SELECT sum(GREATEST(size, $2)) FROM object_deletions WHERE user_id = $1 AND size > 0), 0)
                   -- One that is being made a file counts as that.
                   + COALESCE((SELECT sum(GREATEST(length, $2)) FROM resumable_uploads r WHERE user_id = $1 AND file_id IS NULL
                                 AND (SELECT count(*) FROM files f WHERE f.id = r.id) = 0), 0)
                  )::bigint AS "kept!""#,
        user.0,
        MIN_COUNTED_BYTES,
    )
    .fetch_one(conn)
    .await?)
}

/// Whether a file of `user` with this content is being stored.
pub async fn is_being_stored(conn: &mut PgConnection, user: UserId, sha256: &[u8; 32]) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM files WHERE status = 'storing' AND user_id = $1 AND sha256 = $2) AS "exists!""#,
        user.0,
        sha256.as_slice(),
    )
    .fetch_one(conn)
    .await?)
}

/// Inserts a file that nobody sees until [`mark_stored`].
pub async fn insert(conn: &mut PgConnection, new: NewFile<'_>, now: DateTime<Utc>) -> Result<FileId, StoreError> {
    let id = sqlx::query_scalar!(
        "INSERT INTO files (id, user_id, object_key, filename, file_type, size, sha256, status, created_at, updated_at)
         OVERRIDING SYSTEM VALUE
         VALUES (COALESCE($8, nextval(pg_get_serial_sequence('files', 'id'))), $1, $2, $3, $4, $5, $6, 'storing', $7, now()) RETURNING id",
        new.user.0,
        new.key.as_str(),
        new.name,
        new.file_type.as_str(),
        new.size,
        new.sha256.as_slice(),
        now,
        new.id.map(|id| id.0),
    )
    .fetch_one(conn)
    .await?;
    Ok(FileId(id))
}

/// Says that the store keeps the bytes of a file under this key; `false` if its row is gone, or names another object meanwhile.
pub async fn mark_stored(
    conn: &mut PgConnection,
    id: FileId,
    key: &ObjectKey,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let marked = sqlx::query!(
        "UPDATE files SET status = 'scanning', updated_at = $2 WHERE id = $1 AND status = 'storing' AND object_key = $3",
        id.0,
        now,
        key.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(marked.rows_affected() == 1)
}

/// Deletes a file, whatever its status.
pub async fn delete(conn: &mut PgConnection, id: FileId) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM files WHERE id = $1", id.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes a file unless the store is known to keep it; with a key, only if it is the one that its row names.
pub async fn delete_unstored(conn: &mut PgConnection, id: FileId, key: Option<&ObjectKey>) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM files WHERE id = $1 AND status = 'storing' AND ($2::text IS NULL OR object_key = $2)",
        id.0,
        key.map(ObjectKey::as_str),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes at most `limit` files whose storing began so long ago, by Postgres' clock, that its server must be gone; returns their number.
pub async fn delete_abandoned(conn: &mut PgConnection, after: Duration, limit: i64) -> Result<u64, StoreError> {
    let deleted = sqlx::query!(
        "DELETE FROM files WHERE status = 'storing' AND id IN (
             SELECT id FROM files WHERE status = 'storing' AND updated_at < now() - make_interval(secs => $1) LIMIT $2)",
        after.as_secs_f64(),
        limit,
    )
    .execute(conn)
    .await?;
    Ok(deleted.rows_affected())
}

/// Whether files can be added to a message: one that `user` has written, in a conversation that exists. It is held until the transaction
/// ends, so that it does not go meanwhile.
pub async fn hold_message(conn: &mut PgConnection, user: UserId, message: MessageId) -> Result<bool, StoreError> {
    let held = sqlx::query_scalar!(
        "SELECT m.id FROM messages m JOIN conversations c ON c.id = m.conversation_id
         WHERE m.id = $1 AND m.user_id = $2 AND m.role = 'user' AND c.deleted_at IS NULL FOR KEY SHARE OF m",
        message.0,
        user.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(held.is_some())
}

/// How many files a message has.
pub async fn count_of_message(conn: &mut PgConnection, message: MessageId) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM message_files WHERE message_id = $1"#,
        message.0
    )
    .fetch_one(conn)
    .await?)
}

/// Adds a file to a message, as its last one. The caller holds the person alone, so that two files do not get one place.
pub async fn attach(conn: &mut PgConnection, file: FileId, message: MessageId) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO message_files (message_id, file_id, position)
         SELECT $1, $2, COALESCE(max(position) + 1, 0) FROM message_files WHERE message_id = $1",
        message.0,
        file.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A file of `user`, once it is stored.
pub async fn find_owned(conn: &mut PgConnection, user: UserId, id: FileId) -> Result<Option<File>, StoreError> {
    Ok(list_owned(conn, user, &[id]).await?.pop())
}

/// Those of these files that are stored and belong to `user`.
pub async fn list_owned(conn: &mut PgConnection, user: UserId, ids: &[FileId]) -> Result<Vec<File>, StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        FileRow,
        r#"SELECT f.id, f.filename, f.file_type, f.size, f.sha256, f.status, f.reason_code, f.reason_signature, f.findings, f.created_at,
                  -- Not EXISTS, for which the planner may read the whole table.
                  (SELECT count(*) FROM file_pictures p WHERE p.file_id = f.id AND p.variant = 'thumb' AND p.is_stored) > 0 AS "has_thumbnail!",
                  -- By the file, not in the order of messages: hence the sum. The conversation is looked up for each, not joined.
                  (SELECT min(a.message_id + 0) FROM message_files a
                   WHERE a.file_id = f.id AND (SELECT c.deleted_at IS NULL FROM messages m JOIN conversations c ON c.id = m.conversation_id
                                               WHERE m.id = a.message_id)) AS message_id
           FROM files f WHERE f.id = ANY($1) AND f.user_id = $2 AND f.status <> 'storing'"#,
        &ids,
        user.0,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(File::try_from).collect()
}

/// The files of `user` before this one, the newest first, at most `limit`.
pub async fn list(
    conn: &mut PgConnection,
    user: UserId,
    before: Option<FileId>,
    limit: i64,
) -> Result<Vec<File>, StoreError> {
    let rows = sqlx::query_as!(
        FileRow,
        r#"SELECT f.id, f.filename, f.file_type, f.size, f.sha256, f.status, f.reason_code, f.reason_signature, f.findings, f.created_at,
                  -- Not EXISTS, for which the planner may read the whole table.
                  (SELECT count(*) FROM file_pictures p WHERE p.file_id = f.id AND p.variant = 'thumb' AND p.is_stored) > 0 AS "has_thumbnail!",
                  -- By the file, not in the order of messages: hence the sum. The conversation is looked up for each, not joined.
                  (SELECT min(a.message_id + 0) FROM message_files a
                   WHERE a.file_id = f.id AND (SELECT c.deleted_at IS NULL FROM messages m JOIN conversations c ON c.id = m.conversation_id
                                               WHERE m.id = a.message_id)) AS message_id
           FROM files f WHERE f.user_id = $1 AND f.id + 0 < $2 AND f.status <> 'storing'
           ORDER BY f.id + 0 DESC LIMIT $3"#,
        user.0,
        before.map_or(i64::MAX, |before| before.0),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(File::try_from).collect()
}

/// How many files `user` has.
pub async fn count(conn: &mut PgConnection, user: UserId) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM files WHERE user_id = $1 AND status <> 'storing'"#,
        user.0
    )
    .fetch_one(conn)
    .await?)
}

/// Deletes a file of `user`, once it is stored; `false` when there is none.
pub async fn delete_owned(conn: &mut PgConnection, user: UserId, id: FileId) -> Result<bool, StoreError> {
    let deleted = sqlx::query!(
        "DELETE FROM files WHERE id = $1 AND user_id = $2 AND status <> 'storing'",
        id.0,
        user.0,
    )
    .execute(conn)
    .await?;
    Ok(deleted.rows_affected() == 1)
}

pub(crate) struct FileRow {
    pub(crate) id: i64,
    pub(crate) filename: String,
    pub(crate) file_type: String,
    pub(crate) size: i64,
    pub(crate) sha256: Vec<u8>,
    pub(crate) status: String,
    pub(crate) reason_code: Option<String>,
    pub(crate) reason_signature: Option<String>,
    pub(crate) findings: Vec<String>,
    pub(crate) has_thumbnail: bool,
    pub(crate) message_id: Option<i64>,
    pub(crate) created_at: DateTime<Utc>,
}

impl TryFrom<FileRow> for File {
    type Error = StoreError;

    fn try_from(row: FileRow) -> Result<Self, StoreError> {
        let reason = row.reason_code.map(|word| {
            let reason = FileReason::from_word(&word);
            reason.ok_or(StoreError::UnknownWord("reason of a file"))
        });
        let finding = |word: &String| Finding::from_word(word).ok_or(StoreError::UnknownWord("finding in a file"));
        Ok(Self {
            id: FileId(row.id),
            name: row.filename,
            file_type: FileType::from_word(&row.file_type).ok_or(StoreError::UnknownWord("type of a file"))?,
            size: row.size,
            sha256: row.sha256,
            status: FileStatus::from_word(&row.status).ok_or(StoreError::UnknownWord("status of a file"))?,
            reason: reason.transpose()?,
            signature: row.reason_signature,
            findings: row.findings.iter().map(finding).collect::<Result<_, _>>()?,
            has_thumbnail: row.has_thumbnail,
            message: row.message_id.map(MessageId),
            created_at: row.created_at,
        })
    }
}
