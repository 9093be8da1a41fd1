//! What of the file store is packed into an archive: files and pictures of one person.

use std::collections::HashMap;

use cura_domain::file::{FileReason, FileStatus};
use cura_domain::file_type::FileType;
use cura_domain::object_key::ObjectKey;
use cura_domain::{FileId, UserId};
use sqlx::PgConnection;

use crate::StoreError;
use crate::owners::AccountOwner;

/// A file of the person, as it is now.
#[derive(Debug, Clone)]
pub struct ExportedFile {
    /// The name that it is shown under.
    pub name: String,
    /// What it is, by its content.
    pub file_type: FileType,
    /// What is known of it.
    pub status: FileStatus,
    /// Why it is infected or has failed.
    pub reason: Option<FileReason>,
    /// What the scanner calls what it has found.
    pub signature: Option<String>,
    /// Where its bytes are.
    pub key: ObjectKey,
    /// In bytes.
    pub size: i64,
}

/// A picture of the person.
#[derive(Debug, Clone)]
pub struct ExportedAvatar {
    /// In pixels.
    pub side: i16,
    /// `image/jpeg` or `image/png`.
    pub media_type: String,
    /// Where it is.
    pub key: ObjectKey,
    /// In bytes.
    pub size: i64,
}

/// At most `limit` files of the owner after this one, the oldest first.
pub async fn list_ids(
    conn: &mut PgConnection,
    owner: &AccountOwner,
    after: FileId,
    limit: i64,
) -> Result<Vec<FileId>, StoreError> {
    let ids = sqlx::query_scalar!(
        "SELECT id FROM files WHERE user_id = $1 AND id + 0 > $2 AND status <> 'storing' ORDER BY id + 0 LIMIT $3",
        owner.user().0,
        after.0,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(FileId).collect())
}

/// These files of `user`, those that are still there; none while their person is being erased.
pub async fn list(
    conn: &mut PgConnection,
    user: UserId,
    ids: &[FileId],
) -> Result<HashMap<FileId, ExportedFile>, StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        "SELECT f.id, f.filename, f.file_type, f.status, f.reason_code, f.reason_signature, f.object_key, f.size
         FROM files f JOIN users u ON u.id = f.user_id
         WHERE f.id = ANY($1) AND f.user_id = $2 AND f.status <> 'storing' AND u.erased_at IS NULL",
        &ids,
        user.0,
    )
    .fetch_all(conn)
    .await?;
    let files = rows.into_iter().map(|row| {
        let reason = row.reason_code.map(|word| {
            let reason = FileReason::from_word(&word);
            reason.ok_or(StoreError::UnknownWord("reason of a file"))
        });
        let file = ExportedFile {
            name: row.filename,
            file_type: FileType::from_word(&row.file_type).ok_or(StoreError::UnknownWord("type of a file"))?,
            status: FileStatus::from_word(&row.status).ok_or(StoreError::UnknownWord("status of a file"))?,
            reason: reason.transpose()?,
            signature: row.reason_signature,
            key: read_key(&row.object_key)?,
            size: row.size,
        };
        Ok((FileId(row.id), file))
    });
    files.collect()
}

/// The pictures of `user` that are shown; none while the user is being erased.
pub async fn list_avatars(conn: &mut PgConnection, user: UserId) -> Result<Vec<ExportedAvatar>, StoreError> {
    let rows = sqlx::query!(
        "SELECT p.side, p.media_type, p.object_key, p.size FROM avatar_pictures p JOIN users u ON u.id = p.user_id
         WHERE p.user_id = $1 AND p.is_shown AND u.erased_at IS NULL ORDER BY p.side DESC",
        user.0,
    )
    .fetch_all(conn)
    .await?;
    let pictures = rows.into_iter().map(|row| {
        Ok(ExportedAvatar {
            side: row.side,
            media_type: row.media_type,
            key: read_key(&row.object_key)?,
            size: row.size,
        })
    });
    pictures.collect()
}

fn read_key(text: &str) -> Result<ObjectKey, StoreError> {
    text.parse().map_err(|_| StoreError::UnknownWord("object key"))
}
