//! Uploads that arrive in parts, until they are files. Bytes are added only where the last ones ended, whoever else adds some, and at most
//! one try at a time makes a file of them: every later step of a try carries its fence.

use std::time::Duration;

use chrono::{DateTime, Utc};
use cura_domain::{FileId, UserId};
use sqlx::PgConnection;

use crate::StoreError;

/// A part that is shorter than this, in bytes, is extended instead of being followed by another one: however small the pieces are that a
/// client sends, an upload has at most as many parts as its length has times of this.
const MIN_PART_BYTES: i32 = 16 * 1024;

/// An upload of which something may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumableUpload {
    /// The id, which the file will have.
    pub id: FileId,
    /// `Upload-Metadata` as it was sent.
    pub metadata: String,
    /// In bytes.
    pub length: i64,
    /// How much has arrived, in bytes.
    pub received: i64,
    /// Whether it is a file.
    pub is_file: bool,
    /// When it goes.
    pub expires_at: DateTime<Utc>,
}

/// The right to make a file of an upload of which all has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The upload.
    pub id: FileId,
    /// `Upload-Metadata` as it was sent.
    pub metadata: String,
    /// In bytes.
    pub length: i64,
    fence: i32,
}

/// What a person has begun and not completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfinished {
    /// How many uploads.
    pub count: i64,
    /// In how many seconds the first of them expires; 0 if there is none.
    pub first_expires_in: i64,
}

/// What `user` has begun. The caller holds the person alone, so that two uploads do not both take the last place.
pub async fn count_unfinished(conn: &mut PgConnection, user: UserId) -> Result<Unfinished, StoreError> {
    Ok(sqlx::query_as!(
        Unfinished,
        r#"SELECT count(*) AS "count!", COALESCE(ceil(extract(epoch FROM min(expires_at) - now())), 0)::bigint AS "first_expires_in!"
           FROM resumable_uploads WHERE user_id = $1 AND file_id IS NULL AND expires_at > now()"#,
        user.0,
    )
    .fetch_one(conn)
    .await?)
}

/// Begins an upload, which is there for so long.
pub async fn insert(
    conn: &mut PgConnection,
    user: UserId,
    metadata: &str,
    length: i64,
    lifetime: Duration,
) -> Result<ResumableUpload, StoreError> {
    Ok(sqlx::query_as!(
        ResumableUpload,
        r#"INSERT INTO resumable_uploads (id, user_id, metadata, length, expires_at)
           VALUES (nextval(pg_get_serial_sequence('files', 'id')), $1, $2, $3, now() + make_interval(secs => $4))
           RETURNING id, metadata, length, received, false AS "is_file!", expires_at"#,
        user.0,
        metadata,
        length,
        lifetime.as_secs_f64(),
    )
    .fetch_one(conn)
    .await?)
}

/// An upload of `user` that has not expired.
pub async fn find(conn: &mut PgConnection, user: UserId, id: FileId) -> Result<Option<ResumableUpload>, StoreError> {
    Ok(sqlx::query_as!(
        ResumableUpload,
        r#"SELECT id, metadata, length, received, file_id IS NOT NULL AS "is_file!", expires_at
           FROM resumable_uploads WHERE id = $1 AND user_id = $2 AND expires_at > now()"#,
        id.0,
        user.0,
    )
    .fetch_optional(conn)
    .await?)
}

/// Adds bytes to an upload of `user`, in a transaction of the caller; `false`, and nothing is added, unless exactly `received` bytes had
/// arrived before, and no more than its length have after.
pub async fn append(
    conn: &mut PgConnection,
    user: UserId,
    id: FileId,
    received: i64,
    bytes: &[u8],
) -> Result<bool, StoreError> {
    let more = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    let added = sqlx::query!(
        "UPDATE resumable_uploads SET received = received + $4
         WHERE id = $1 AND user_id = $2 AND received = $3 AND $4 <= length - received AND file_id IS NULL AND expires_at > now()",
        id.0,
        user.0,
        received,
        more,
    );
    if added.execute(&mut *conn).await?.rows_affected() == 0 {
        return Ok(false);
    }
    let extended = sqlx::query!(
        "UPDATE resumable_parts SET bytes = bytes || $2
         WHERE upload_id = $1 AND start = (SELECT max(start) FROM resumable_parts WHERE upload_id = $1) AND octet_length(bytes) < $3",
        id.0,
        bytes,
        MIN_PART_BYTES,
    );
    if extended.execute(&mut *conn).await?.rows_affected() == 0 {
        sqlx::query!(
            "INSERT INTO resumable_parts (upload_id, start, bytes) VALUES ($1, $2, $3)",
            id.0,
            received,
            bytes,
        )
        .execute(conn)
        .await?;
    }
    Ok(true)
}

/// The part of an upload that begins there.
pub async fn find_part(conn: &mut PgConnection, id: FileId, start: i64) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(sqlx::query_scalar!(
        "SELECT bytes FROM resumable_parts WHERE upload_id = $1 AND start = $2",
        id.0,
        start,
    )
    .fetch_optional(conn)
    .await?)
}

/// Takes the right to make a file of an upload of `user` for so long; `None` unless all has arrived, it is no file yet, and nobody else
/// has the right.
pub async fn claim(
    conn: &mut PgConnection,
    user: UserId,
    id: FileId,
    lease: Duration,
) -> Result<Option<Claim>, StoreError> {
    Ok(sqlx::query_as!(
        Claim,
        r#"UPDATE resumable_uploads SET fence = fence + 1, completing_until = now() + make_interval(secs => $3)
           WHERE id = $1 AND user_id = $2 AND received = length AND file_id IS NULL AND expires_at > now()
             AND (completing_until IS NULL OR completing_until < now())
           RETURNING id, metadata, length, fence"#,
        id.0,
        user.0,
        lease.as_secs_f64(),
    )
    .fetch_optional(conn)
    .await?)
}

/// Keeps the right for so long from now on, if it is still held.
pub async fn renew(conn: &mut PgConnection, claim: &Claim, lease: Duration) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE resumable_uploads SET completing_until = now() + make_interval(secs => $3) WHERE id = $1 AND fence = $2",
        claim.id.0,
        claim.fence,
        lease.as_secs_f64(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives the right back, which nobody takes for so long: what has arrived stays.
pub async fn release(conn: &mut PgConnection, claim: &Claim, pause: Duration) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE resumable_uploads SET completing_until = now() + make_interval(secs => $3) WHERE id = $1 AND fence = $2",
        claim.id.0,
        claim.fence,
        pause.as_secs_f64(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Holds an upload until the transaction ends; `false` if it is gone or somebody else has the right. In the order of locks it comes after
/// the user, the session and the message.
pub async fn hold(conn: &mut PgConnection, claim: &Claim) -> Result<bool, StoreError> {
    let held = sqlx::query_scalar!(
        "SELECT id FROM resumable_uploads WHERE id = $1 AND fence = $2 FOR NO KEY UPDATE",
        claim.id.0,
        claim.fence,
    )
    .fetch_optional(conn)
    .await?;
    Ok(held.is_some())
}

/// Says that an upload is the file with its id, which has the bytes now.
pub async fn become_file(conn: &mut PgConnection, id: FileId) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE resumable_uploads SET file_id = id, completing_until = NULL WHERE id = $1",
        id.0
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("DELETE FROM resumable_parts WHERE upload_id = $1", id.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes an upload of `user` with all that has arrived, unless it is a file; `false` when there is none.
pub async fn delete(conn: &mut PgConnection, user: UserId, id: FileId) -> Result<bool, StoreError> {
    let deleted = sqlx::query!(
        "DELETE FROM resumable_uploads WHERE id = $1 AND user_id = $2 AND file_id IS NULL AND expires_at > now()",
        id.0,
        user.0,
    )
    .execute(conn)
    .await?;
    Ok(deleted.rows_affected() == 1)
}

/// Deletes an upload with all that has arrived, if the right to make a file of it is still held.
pub async fn delete_claimed(conn: &mut PgConnection, claim: &Claim) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM resumable_uploads WHERE id = $1 AND fence = $2",
        claim.id.0,
        claim.fence
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes at most `limit` parts of a hundred expired uploads, or those uploads once they have none; returns the number of rows. One that
/// is being made a file is left until that has ended.
pub async fn delete_expired(conn: &mut PgConnection, parents: i64, limit: i64) -> Result<u64, StoreError> {
    let uploads = sqlx::query_scalar!(
        "SELECT id FROM resumable_uploads
         WHERE expires_at < now() AND (completing_until IS NULL OR completing_until < now()) LIMIT $1",
        parents.min(limit),
    )
    .fetch_all(&mut *conn)
    .await?;
    let parts = sqlx::query!(
        "DELETE FROM resumable_parts WHERE ctid = ANY(ARRAY(
             SELECT child.ctid FROM unnest($1::bigint[]) AS parent (id)
             CROSS JOIN LATERAL (SELECT ctid FROM resumable_parts WHERE upload_id = parent.id LIMIT $2) child LIMIT $2))",
        &uploads,
        limit,
    );
    let deleted = parts.execute(&mut *conn).await?.rows_affected();
    if deleted > 0 {
        return Ok(deleted);
    }
    let done = sqlx::query!(
        "DELETE FROM resumable_uploads WHERE id = ANY($1) AND (completing_until IS NULL OR completing_until < now())",
        &uploads
    );
    Ok(done.execute(conn).await?.rows_affected())
}
