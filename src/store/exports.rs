//! Archives of all data of a user: one per user, made by a job, stored in parts until it expires.

use chrono::{DateTime, Utc};
use cura_domain::UserId;
use cura_domain::export::{Archive, Export};
use sqlx::PgConnection;

use crate::StoreError;

/// The archive of `user`. The user's row is locked until the transaction ends, so that two requests make one archive.
pub async fn find_locked(conn: &mut PgConnection, user: UserId) -> Result<Option<Export>, StoreError> {
    sqlx::query!("SELECT id FROM users WHERE id = $1 FOR NO KEY UPDATE", user.0)
        .fetch_optional(&mut *conn)
        .await?;
    let row = sqlx::query!(
        "SELECT id, size, sha256, created_at, expires_at FROM exports WHERE user_id = $1",
        user.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Export {
        id: row.id,
        ready: row.size.zip(row.sha256).map(|(size, sha256)| Archive { size, sha256 }),
        created_at: row.created_at,
        expires_at: row.expires_at,
    }))
}

/// Starts a new archive in place of the old one and returns its id.
pub async fn start(
    conn: &mut PgConnection,
    user: UserId,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<i64, StoreError> {
    delete(conn, user).await?;
    Ok(sqlx::query_scalar!(
        r#"INSERT INTO exports (user_id, state, created_at, expires_at) VALUES ($1, 'making', $2, $3) RETURNING id"#,
        user.0,
        now,
        expires_at,
    )
    .fetch_one(conn)
    .await?)
}

/// Deletes the archive of `user`, finished or not.
pub async fn delete(conn: &mut PgConnection, user: UserId) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM exports WHERE user_id = $1", user.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// The user of an archive that is not finished; `None` when it is finished or was deleted.
pub async fn find_pending(conn: &mut PgConnection, id: i64) -> Result<Option<UserId>, StoreError> {
    let user = sqlx::query_scalar!(
        r#"SELECT e.user_id FROM exports e JOIN users u ON u.id = e.user_id
           WHERE e.id = $1 AND e.state = 'making' AND u.erased_at IS NULL"#,
        id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(user.map(UserId))
}

/// Locks an archive that is not finished; `false` when it is finished or was deleted.
pub async fn lock_pending(conn: &mut PgConnection, id: i64) -> Result<bool, StoreError> {
    let found = sqlx::query_scalar!(
        "SELECT id FROM exports WHERE id = $1 AND state = 'making' FOR UPDATE",
        id
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.is_some())
}

/// Adds a part of an archive.
pub async fn insert_part(conn: &mut PgConnection, id: i64, number: i32, bytes: &[u8]) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO export_parts (export_id, number, bytes) VALUES ($1, $2, $3)",
        id,
        number,
        bytes,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Marks an archive as ready, once all parts are stored.
pub async fn finish(
    conn: &mut PgConnection,
    id: i64,
    archive: &Archive,
    expires_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE exports SET state = 'ready', size = $2, sha256 = $3, expires_at = $4 WHERE id = $1",
        id,
        archive.size,
        archive.sha256,
        expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A part of an archive; `None` after the last, or when the archive was deleted.
pub async fn find_part(conn: &mut PgConnection, id: i64, number: i32) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(sqlx::query_scalar!(
        "SELECT bytes FROM export_parts WHERE export_id = $1 AND number = $2",
        id,
        number,
    )
    .fetch_optional(conn)
    .await?)
}
