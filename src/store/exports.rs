//! Archives of all data of a user: one per user, made by a job, kept in the file store until it expires. A row names its object before that
//! exists, and whatever deletes the row lists the object for deletion (migration 0057).

use chrono::{DateTime, Utc};
use cura_domain::UserId;
use cura_domain::export::{Archive, Export};
use cura_domain::object_key::ObjectKey;
use sqlx::PgConnection;

use crate::StoreError;

/// The archive of `user`. The user's row is locked until the transaction ends, so that two requests make one archive. One that the release
/// before has kept in parts is none: it is made again.
pub async fn find_locked(conn: &mut PgConnection, user: UserId) -> Result<Option<Export>, StoreError> {
    sqlx::query!("SELECT id FROM users WHERE id = $1 FOR NO KEY UPDATE", user.0)
        .fetch_optional(&mut *conn)
        .await?;
    let row = sqlx::query!(
        r#"SELECT e.id, e.created_at, e.expires_at, e.is_refused, o.object_key AS "object_key?", o.size AS "size?", o.sha256 AS "sha256?"
           FROM exports e LEFT JOIN export_objects o ON o.export_id = e.id AND o.is_stored
           WHERE e.user_id = $1 AND e.state = 'making'"#,
        user.0,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let ready = match (row.object_key, row.size, row.sha256) {
        (Some(key), Some(size), Some(sha256)) => Some(Archive {
            key: key.parse().map_err(|_| StoreError::UnknownWord("object key"))?,
            size,
            sha256,
        }),
        _ => None,
    };
    Ok(Some(Export {
        id: row.id,
        ready,
        is_refused: row.is_refused,
        created_at: row.created_at,
        expires_at: row.expires_at,
    }))
}

/// Begins an archive of `user` in place of the one there is. If it is not ready at `expires_at`, another one can be begun.
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

/// Deletes the archive with this object, if there still is one.
pub async fn delete_lost(conn: &mut PgConnection, user: UserId, key: &ObjectKey) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM exports WHERE user_id = $1 AND id IN (SELECT export_id FROM export_objects WHERE object_key = $2)",
        user.0,
        key.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether the archive at this place is finished and not deleted.
pub async fn is_kept(conn: &mut PgConnection, key: &ObjectKey) -> Result<bool, StoreError> {
    let kept = sqlx::query_scalar!(
        "SELECT export_id FROM export_objects WHERE object_key = $1 AND is_stored",
        key.as_str(),
    );
    Ok(kept.fetch_optional(conn).await?.is_some())
}

/// The user of an archive that is not finished; `None` when it is finished, was deleted or is refused by the file store.
pub async fn find_pending(conn: &mut PgConnection, id: i64) -> Result<Option<UserId>, StoreError> {
    let user = sqlx::query_scalar!(
        r#"SELECT e.user_id FROM exports e JOIN users u ON u.id = e.user_id
           WHERE e.id = $1 AND e.state = 'making' AND NOT e.is_refused AND u.erased_at IS NULL
             AND NOT EXISTS (SELECT FROM export_objects o WHERE o.export_id = e.id AND o.is_stored)"#,
        id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(user.map(UserId))
}

/// Names the place of an archive before it is put there, instead of what an earlier run has named: a place is put to once. `false` if the
/// archive is finished or was deleted.
pub async fn name_object(transaction: &mut PgConnection, id: i64, archive: &Archive) -> Result<bool, StoreError> {
    if !lock_pending(transaction, id).await? {
        return Ok(false);
    }
    sqlx::query!("DELETE FROM export_objects WHERE export_id = $1", id)
        .execute(&mut *transaction)
        .await?;
    sqlx::query!(
        "INSERT INTO export_objects (export_id, object_key, size, sha256) VALUES ($1, $2, $3, $4)",
        id,
        archive.key.as_str(),
        archive.size,
        archive.sha256,
    )
    .execute(transaction)
    .await?;
    Ok(true)
}

/// Marks an archive as ready, once the file store keeps it at this place. `false` if it is finished or was deleted, or another run has named
/// another place.
pub async fn finish(
    transaction: &mut PgConnection,
    id: i64,
    key: &ObjectKey,
    expires_at: DateTime<Utc>,
) -> Result<bool, StoreError> {
    if !lock_pending(transaction, id).await? {
        return Ok(false);
    }
    let stored = sqlx::query!(
        "UPDATE export_objects SET is_stored = true WHERE export_id = $1 AND object_key = $2",
        id,
        key.as_str(),
    );
    if stored.execute(&mut *transaction).await?.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query!("UPDATE exports SET expires_at = $2 WHERE id = $1", id, expires_at)
        .execute(transaction)
        .await?;
    Ok(true)
}

/// Notes that the file store takes no archive of this user: none is made until then. `false` if it is finished or was deleted.
pub async fn refuse(transaction: &mut PgConnection, id: i64, until: DateTime<Utc>) -> Result<bool, StoreError> {
    if !lock_pending(transaction, id).await? {
        return Ok(false);
    }
    sqlx::query!("DELETE FROM export_objects WHERE export_id = $1", id)
        .execute(&mut *transaction)
        .await?;
    sqlx::query!(
        "UPDATE exports SET is_refused = true, expires_at = $2 WHERE id = $1",
        id,
        until
    )
    .execute(transaction)
    .await?;
    Ok(true)
}

/// Deletes an archive that nobody makes any more. `false` if it is finished, refused or deleted.
pub async fn delete_pending(transaction: &mut PgConnection, id: i64) -> Result<bool, StoreError> {
    if !lock_pending(transaction, id).await? {
        return Ok(false);
    }
    sqlx::query!("DELETE FROM exports WHERE id = $1", id)
        .execute(transaction)
        .await?;
    Ok(true)
}

/// Locks an archive that is not finished; `false` when it is finished, was deleted or is refused.
async fn lock_pending(conn: &mut PgConnection, id: i64) -> Result<bool, StoreError> {
    let locked = sqlx::query_scalar!(
        "SELECT id FROM exports WHERE id = $1 AND state = 'making' AND NOT is_refused FOR UPDATE",
        id
    );
    if locked.fetch_optional(&mut *conn).await?.is_none() {
        return Ok(false);
    }
    let stored = sqlx::query_scalar!(
        "SELECT export_id FROM export_objects WHERE export_id = $1 AND is_stored",
        id
    );
    Ok(stored.fetch_optional(conn).await?.is_none())
}
