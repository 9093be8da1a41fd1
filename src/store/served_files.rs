//! Files that are given out by links: clean ones, whose person is neither erased nor suspended.

use cura_domain::FileId;
use cura_domain::file_type::FileType;
use cura_domain::object_key::ObjectKey;
use sqlx::PgConnection;

use crate::StoreError;

/// A file as it was uploaded.
#[derive(Debug, Clone)]
pub struct ServedOriginal {
    /// Where its bytes are.
    pub key: ObjectKey,
    /// The name that it is shown under.
    pub name: String,
    /// What it is, by its content.
    pub file_type: FileType,
    /// In bytes.
    pub size: i64,
    /// SHA-256 of its bytes.
    pub sha256: Vec<u8>,
}

/// The thumbnail of a file.
#[derive(Debug, Clone)]
pub struct ServedThumbnail {
    /// Where its bytes are.
    pub key: ObjectKey,
    /// The name that the file is shown under.
    pub name: String,
    /// `image/jpeg` or `image/png`.
    pub media_type: String,
    /// In bytes.
    pub size: i64,
}

/// A file, if it is given out.
pub async fn find_original(conn: &mut PgConnection, id: FileId) -> Result<Option<ServedOriginal>, StoreError> {
    let row = sqlx::query!(
        "SELECT f.object_key, f.filename, f.file_type, f.size, f.sha256 FROM files f JOIN users u ON u.id = f.user_id
         WHERE f.id = $1 AND f.status = 'clean' AND u.suspended_at IS NULL AND u.erased_at IS NULL",
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    Ok(Some(ServedOriginal {
        key: read_key(&row.object_key)?,
        name: row.filename,
        file_type: FileType::from_word(&row.file_type).ok_or(StoreError::UnknownWord("type of a file"))?,
        size: row.size,
        sha256: row.sha256,
    }))
}

/// The thumbnail of a file, if the file is given out and has one.
pub async fn find_thumbnail(conn: &mut PgConnection, id: FileId) -> Result<Option<ServedThumbnail>, StoreError> {
    let row = sqlx::query!(
        "SELECT p.object_key, f.filename, p.media_type, p.size
         FROM files f JOIN users u ON u.id = f.user_id JOIN file_pictures p ON p.file_id = f.id AND p.variant = 'thumb' AND p.is_stored
         WHERE f.id = $1 AND f.status = 'clean' AND u.suspended_at IS NULL AND u.erased_at IS NULL",
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    Ok(Some(ServedThumbnail {
        key: read_key(&row.object_key)?,
        name: row.filename,
        media_type: row.media_type,
        size: row.size,
    }))
}

fn read_key(text: &str) -> Result<ObjectKey, StoreError> {
    text.parse().map_err(|_| StoreError::UnknownWord("object key"))
}
