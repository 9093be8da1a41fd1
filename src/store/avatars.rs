//! Avatars: rows that name their pictures in the file store before these exist, and of which one pair is shown (migration 0051).

use std::time::Duration;

use cura_domain::UserId;
use cura_domain::avatar::{AvatarKey, AvatarSize};
use cura_domain::object_key::ObjectKey;
use sqlx::PgConnection;

use crate::StoreError;

/// A picture of an avatar that the file store is about to keep.
#[derive(Debug, Clone, Copy)]
pub struct NewAvatarPicture<'a> {
    /// Its size.
    pub size: AvatarSize,
    /// Where it will be.
    pub object: &'a ObjectKey,
    /// `image/jpeg` or `image/png`.
    pub media_type: &'a str,
    /// In bytes.
    pub bytes: i64,
}

/// A picture that is shown.
#[derive(Debug, Clone)]
pub struct ShownAvatar {
    /// Where it is.
    pub object: ObjectKey,
    /// `image/jpeg` or `image/png`.
    pub media_type: String,
    /// In bytes.
    pub bytes: i64,
}

/// Names a picture that nobody sees until [`show`].
pub async fn insert(
    conn: &mut PgConnection,
    user: UserId,
    key: &AvatarKey,
    picture: NewAvatarPicture<'_>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO avatar_pictures (public_key, side, user_id, object_key, media_type, size) VALUES ($1, $2, $3, $4, $5, $6)",
        key.as_str(),
        picture.size.side(),
        user.0,
        picture.object.as_str(),
        picture.media_type,
        picture.bytes,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Shows an avatar whose pictures the file store keeps, and deletes those before it. `false` if its rows are gone, or one of them. The
/// caller holds the person alone.
pub async fn show(conn: &mut PgConnection, user: UserId, key: &AvatarKey) -> Result<bool, StoreError> {
    let shown = sqlx::query!(
        "UPDATE avatar_pictures SET is_shown = true WHERE public_key = $1 AND user_id = $2",
        key.as_str(),
        user.0,
    );
    if shown.execute(&mut *conn).await?.rows_affected() < 2 {
        // Of half an avatar nothing is shown.
        sqlx::query!("DELETE FROM avatar_pictures WHERE public_key = $1", key.as_str())
            .execute(conn)
            .await?;
        return Ok(false);
    }
    sqlx::query!(
        "DELETE FROM avatar_pictures WHERE user_id = $1 AND is_shown AND public_key <> $2",
        user.0,
        key.as_str(),
    )
    .execute(&mut *conn)
    .await?;
    set_url(conn, user, Some(key)).await?;
    Ok(true)
}

/// Deletes the avatar that is shown; `false` if there is none.
pub async fn delete(conn: &mut PgConnection, user: UserId) -> Result<bool, StoreError> {
    let deleted = sqlx::query!("DELETE FROM avatar_pictures WHERE user_id = $1 AND is_shown", user.0);
    let is_deleted = deleted.execute(&mut *conn).await?.rows_affected() > 0;
    set_url(conn, user, None).await?;
    Ok(is_deleted)
}

async fn set_url(conn: &mut PgConnection, user: UserId, key: Option<&AvatarKey>) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE users SET avatar_url = $2 WHERE id = $1",
        user.0,
        key.map(AvatarKey::url),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes the rows of an avatar that is not shown.
pub async fn delete_unshown(conn: &mut PgConnection, key: &AvatarKey) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM avatar_pictures WHERE public_key = $1 AND NOT is_shown",
        key.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes the pictures of at most `limit` avatars whose storing began so long ago, by Postgres' clock, that its server must be gone;
/// returns their number.
pub async fn delete_abandoned(conn: &mut PgConnection, after: Duration, limit: i64) -> Result<u64, StoreError> {
    let deleted = sqlx::query!(
        "DELETE FROM avatar_pictures WHERE NOT is_shown AND public_key IN (
             SELECT public_key FROM avatar_pictures
             WHERE NOT is_shown AND created_at < now() - make_interval(secs => $1) LIMIT $2)",
        after.as_secs_f64(),
        limit,
    )
    .execute(conn)
    .await?;
    Ok(deleted.rows_affected())
}

/// The picture of this size, if the avatar is shown and its person is neither erased nor suspended.
pub async fn find_shown(
    conn: &mut PgConnection,
    key: &AvatarKey,
    size: AvatarSize,
) -> Result<Option<ShownAvatar>, StoreError> {
    let row = sqlx::query!(
        "SELECT p.object_key, p.media_type, p.size FROM avatar_pictures p JOIN users u ON u.id = p.user_id
         WHERE p.public_key = $1 AND p.side = $2 AND p.is_shown AND u.suspended_at IS NULL AND u.erased_at IS NULL",
        key.as_str(),
        size.side(),
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    Ok(Some(ShownAvatar {
        object: row
            .object_key
            .parse()
            .map_err(|_| StoreError::UnknownWord("object key"))?,
        media_type: row.media_type,
        bytes: row.size,
    }))
}
