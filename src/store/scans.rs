//! Scans of files: what is to be scanned, what a scan makes of it, and how it ends. A file whose scan has ended is not changed by another.

use std::time::Duration;

use chrono::{DateTime, Utc};
use cura_domain::file::{FileReason, FileStatus, Finding, PictureVariant};
use cura_domain::file_type::FileType;
use cura_domain::object_key::ObjectKey;
use cura_domain::{FileId, UserId};
use sqlx::PgConnection;

use crate::StoreError;

/// A file that is to be scanned.
#[derive(Debug, Clone)]
pub struct UnscannedFile {
    /// Whose.
    pub user: UserId,
    /// Where its bytes are.
    pub key: ObjectKey,
    /// What it is.
    pub file_type: FileType,
    /// In bytes.
    pub size: i64,
}

/// A picture that a scan has made of a file.
#[derive(Debug, Clone, Copy)]
pub struct NewPicture<'a> {
    /// What it is for.
    pub variant: PictureVariant,
    /// Where it will be: nobody else's place, nor an earlier one.
    pub key: &'a ObjectKey,
    /// `image/jpeg` or `image/png`.
    pub media_type: &'a str,
    /// In pixels.
    pub width: i32,
    /// In pixels.
    pub height: i32,
    /// In bytes.
    pub size: i64,
}

/// The text of a document.
#[derive(Debug, Clone)]
pub struct NewText {
    /// Pages, divided by form feeds, without zero bytes.
    pub content: String,
    /// Of the whole document; `None` where it does not say.
    pub page_count: Option<i32>,
    /// Whether text was left out.
    pub is_cut: bool,
}

/// A file, if it is to be scanned.
pub async fn find_unscanned(conn: &mut PgConnection, id: FileId) -> Result<Option<UnscannedFile>, StoreError> {
    let row = sqlx::query!(
        "SELECT user_id, object_key, file_type, size FROM files WHERE id = $1 AND status = 'scanning'",
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    Ok(Some(UnscannedFile {
        user: UserId(row.user_id),
        key: row
            .object_key
            .parse()
            .map_err(|_| StoreError::UnknownWord("object key"))?,
        file_type: FileType::from_word(&row.file_type).ok_or(StoreError::UnknownWord("type of a file"))?,
        size: row.size,
    }))
}

/// What is known of a file, where its bytes are, and how many there are.
pub async fn find_object(
    conn: &mut PgConnection,
    id: FileId,
) -> Result<Option<(FileStatus, ObjectKey, i64)>, StoreError> {
    let row = sqlx::query!("SELECT status, object_key, size FROM files WHERE id = $1", id.0)
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let status = FileStatus::from_word(&row.status).ok_or(StoreError::UnknownWord("status of a file"))?;
    let key = row.object_key.parse();
    let key = key.map_err(|_| StoreError::UnknownWord("object key"))?;
    Ok(Some((status, key, row.size)))
}

/// At most `limit` files after this one that wait for their scan for so long, by Postgres' clock.
pub async fn list_overdue(
    conn: &mut PgConnection,
    after: FileId,
    since: Duration,
    limit: i64,
) -> Result<Vec<FileId>, StoreError> {
    let ids = sqlx::query_scalar!(
        "SELECT id FROM files WHERE status = 'scanning' AND id > $1 AND updated_at < now() - make_interval(secs => $2)
         ORDER BY id LIMIT $3",
        after.0,
        since.as_secs_f64(),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(FileId).collect())
}

/// At most `limit` files after this one that could not be scanned, for this reason if one is given, and have been so since then.
pub async fn list_failed(
    conn: &mut PgConnection,
    after: FileId,
    reason: Option<FileReason>,
    since: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<FileId>, StoreError> {
    // By `id + 0`, as the index of statuses is.
    let ids = sqlx::query_scalar!(
        "SELECT id FROM files WHERE status = 'failed' AND id + 0 > $1 AND ($2::text IS NULL OR reason_code = $2) AND updated_at >= $3
         ORDER BY id + 0 LIMIT $4",
        after.0,
        reason.map(FileReason::as_str),
        since,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(FileId).collect())
}

/// What is known of a file of `user`, which stays so until the transaction ends.
pub async fn lock_status(
    transaction: &mut PgConnection,
    user: UserId,
    id: FileId,
) -> Result<Option<FileStatus>, StoreError> {
    let word = sqlx::query_scalar!(
        "SELECT status FROM files WHERE id = $1 AND user_id = $2 FOR NO KEY UPDATE",
        id.0,
        user.0,
    );
    let word = word.fetch_optional(transaction).await?;
    word.map(|word| FileStatus::from_word(&word).ok_or(StoreError::UnknownWord("status of a file")))
        .transpose()
}

/// Has a file scanned once more whose scan has ended and whose bytes are kept: nothing of what was found or made stays. A trigger lists
/// its pictures for deletion.
pub async fn begin_again(transaction: &mut PgConnection, id: FileId, now: DateTime<Utc>) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE files SET status = 'scanning', reason_code = NULL, reason_signature = NULL, findings = '{}', made_size = 0,
             postponed_since = NULL, updated_at = $2
         WHERE id = $1 AND status IN ('clean', 'failed')",
        id.0,
        now,
    )
    .execute(&mut *transaction)
    .await?;
    delete_pictures(transaction, id).await?;
    sqlx::query!("DELETE FROM file_texts WHERE file_id = $1", id.0)
        .execute(transaction)
        .await?;
    Ok(())
}

/// Notes that the scan of a file is put off through no fault of its own, and says whether that is so for longer than `patience`.
pub async fn postpone(conn: &mut PgConnection, id: FileId, patience: Duration) -> Result<bool, StoreError> {
    let is_over = sqlx::query_scalar!(
        r#"UPDATE files SET postponed_since = COALESCE(postponed_since, now()) WHERE id = $1 AND status = 'scanning'
           RETURNING postponed_since <= now() - make_interval(secs => $2) AS "is_over!""#,
        id.0,
        patience.as_secs_f64(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(is_over.unwrap_or(false))
}

/// Names the place of a picture before it is put there, instead of what an earlier run has named: a place is put to once, so that no run
/// that was given up deletes what another has put. `false` if the scan of the file has ended, or the file is gone.
pub async fn name_picture(
    transaction: &mut PgConnection,
    id: FileId,
    picture: NewPicture<'_>,
) -> Result<bool, StoreError> {
    if !hold_unscanned(transaction, id).await? {
        return Ok(false);
    }
    sqlx::query!(
        "DELETE FROM file_pictures WHERE file_id = $1 AND variant = $2",
        id.0,
        picture.variant.as_str(),
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!(
        "INSERT INTO file_pictures (file_id, variant, object_key, media_type, width, height, size)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        id.0,
        picture.variant.as_str(),
        picture.key.as_str(),
        picture.media_type,
        picture.width,
        picture.height,
        picture.size,
    )
    .execute(transaction)
    .await?;
    Ok(true)
}

/// Ends the scan of a file that can be given out, with these pictures, which are stored. `false` if its scan has ended before, or it is
/// gone, or another run has named other places for its pictures.
pub async fn mark_clean(
    transaction: &mut PgConnection,
    id: FileId,
    findings: &[Finding],
    pictures: &[ObjectKey],
    text: Option<&NewText>,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    if !hold_unscanned(transaction, id).await? {
        return Ok(false);
    }
    let keys: Vec<String> = pictures.iter().map(|key| key.as_str().to_owned()).collect();
    let stored = sqlx::query!(
        "UPDATE file_pictures SET is_stored = true WHERE file_id = $1 AND object_key = ANY($2)",
        id.0,
        &keys,
    );
    if stored.execute(&mut *transaction).await?.rows_affected() < keys.len() as u64 {
        return Ok(false);
    }
    sqlx::query!("DELETE FROM file_pictures WHERE file_id = $1 AND NOT is_stored", id.0)
        .execute(&mut *transaction)
        .await?;
    let findings: Vec<String> = findings.iter().map(|finding| finding.as_str().to_owned()).collect();
    sqlx::query!(
        "UPDATE files SET status = 'clean', findings = $2, updated_at = $3,
             made_size = COALESCE((SELECT sum(size) FROM file_pictures WHERE file_id = $1), 0)::bigint + $4
         WHERE id = $1",
        id.0,
        &findings,
        now,
        text.map_or(0, |text| i64::try_from(text.content.len()).unwrap_or(i64::MAX)),
    )
    .execute(&mut *transaction)
    .await?;
    if let Some(text) = text {
        sqlx::query!(
            "INSERT INTO file_texts (file_id, content, page_count, is_cut) VALUES ($1, $2, $3, $4)",
            id.0,
            text.content,
            text.page_count,
            text.is_cut,
        )
        .execute(transaction)
        .await?;
    }
    Ok(true)
}

/// Whether a file waits for its scan. Then it does until the transaction ends.
async fn hold_unscanned(transaction: &mut PgConnection, id: FileId) -> Result<bool, StoreError> {
    let held = sqlx::query_scalar!(
        "SELECT id FROM files WHERE id = $1 AND status = 'scanning' FOR NO KEY UPDATE",
        id.0,
    );
    Ok(held.fetch_optional(transaction).await?.is_some())
}

/// Ends the scan of a file that could not be scanned, whose bytes are kept. `false` as of [`mark_clean`].
pub async fn mark_failed(
    conn: &mut PgConnection,
    id: FileId,
    reason: FileReason,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let marked = sqlx::query!(
        "UPDATE files SET status = 'failed', reason_code = $2, updated_at = $3 WHERE id = $1 AND status = 'scanning'",
        id.0,
        reason.as_str(),
        now,
    );
    let is_marked = marked.execute(&mut *conn).await?.rows_affected() == 1;
    if is_marked {
        delete_pictures(conn, id).await?;
    }
    Ok(is_marked)
}

/// Ends the scan of a file in which `signature` was found, and lists its bytes for deletion. `false` as of [`mark_clean`].
pub async fn mark_infected(
    conn: &mut PgConnection,
    id: FileId,
    signature: &str,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let marked = sqlx::query!(
        "WITH infected AS (
             UPDATE files SET status = 'infected', reason_code = 'malware', reason_signature = $2, updated_at = $3
             WHERE id = $1 AND status = 'scanning' RETURNING object_key, user_id, size)
         INSERT INTO object_deletions (object_key, user_id, size, due_at, created_at)
         SELECT object_key, user_id, size, now(), now() FROM infected",
        id.0,
        signature,
        now,
    );
    let is_marked = marked.execute(&mut *conn).await?.rows_affected() == 1;
    if is_marked {
        delete_pictures(conn, id).await?;
    }
    Ok(is_marked)
}

/// Deletes what was made of a file; a trigger lists the objects for deletion.
async fn delete_pictures(conn: &mut PgConnection, id: FileId) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM file_pictures WHERE file_id = $1", id.0)
        .execute(conn)
        .await?;
    Ok(())
}
