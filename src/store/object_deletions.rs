//! Objects of the file store that are to be deleted. Each was listed in the transaction that deleted its file (migration 0047).

use std::time::Duration;

use chrono::{DateTime, Utc};
use cura_domain::UserId;
use cura_domain::object_key::ObjectKey;
use sqlx::PgConnection;

use crate::StoreError;

/// An object that is to be deleted.
#[derive(Debug, Clone)]
pub struct ListedObject {
    /// Where it is.
    pub key: ObjectKey,
    /// How often the file store has not deleted it.
    pub attempts: i32,
    /// Since when it is due.
    pub due_at: DateTime<Utc>,
}

/// At most `limit` objects that are due by Postgres' clock, those due longest first; of one user or of all.
pub async fn list_due(
    conn: &mut PgConnection,
    user: Option<UserId>,
    limit: i64,
) -> Result<Vec<ListedObject>, StoreError> {
    let listed = match user {
        Some(user) => {
            sqlx::query_as!(
                Row,
                "SELECT object_key, attempts, due_at FROM object_deletions WHERE user_id = $1 AND due_at <= now() ORDER BY due_at LIMIT $2",
                user.0,
                limit,
            )
            .fetch_all(conn)
            .await?
        }
        None => {
            sqlx::query_as!(
                Row,
                "SELECT object_key, attempts, due_at FROM object_deletions WHERE due_at <= now() ORDER BY due_at LIMIT $1",
                limit,
            )
            .fetch_all(conn)
            .await?
        }
    };
    listed.into_iter().map(ListedObject::try_from).collect()
}

/// Lists an object that may be in the file store although its row is gone, as due after this long, whatever was said before. One that a row
/// names is not listed. `size` is what it counts for in what its person keeps, in bytes; with 0 it does not count.
pub async fn list_unnamed(
    conn: &mut PgConnection,
    user: UserId,
    key: &ObjectKey,
    size: i64,
    after: Duration,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO object_deletions (object_key, user_id, size, due_at, created_at)
         SELECT $2, $1, $3, now() + make_interval(secs => $4), now()
         WHERE NOT EXISTS (SELECT FROM files WHERE object_key = $2) AND NOT EXISTS (SELECT FROM file_pictures WHERE object_key = $2)
           AND NOT EXISTS (SELECT FROM avatar_pictures WHERE object_key = $2) AND NOT EXISTS (SELECT FROM export_objects WHERE object_key = $2)
         ON CONFLICT (object_key) DO UPDATE SET due_at = EXCLUDED.due_at, size = EXCLUDED.size",
        user.0,
        key.as_str(),
        size,
        after.as_secs_f64(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets objects that the file store has deleted, unless they were listed anew meanwhile: then they may have been put since.
pub async fn remove(conn: &mut PgConnection, objects: &[ListedObject]) -> Result<(), StoreError> {
    let keys: Vec<String> = objects.iter().map(|object| object.key.as_str().to_owned()).collect();
    let due: Vec<DateTime<Utc>> = objects.iter().map(|object| object.due_at).collect();
    sqlx::query!(
        "DELETE FROM object_deletions AS listed USING unnest($1::text[], $2::timestamptz[]) AS deleted (object_key, due_at)
         WHERE listed.object_key = deleted.object_key AND listed.due_at = deleted.due_at",
        &keys,
        &due,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that the file store has not deleted an object, which is due again after this long.
pub async fn postpone(conn: &mut PgConnection, key: &ObjectKey, after: Duration) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE object_deletions SET attempts = attempts + 1, due_at = now() + make_interval(secs => $2) WHERE object_key = $1",
        key.as_str(),
        after.as_secs_f64(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How many objects of `user` are to be deleted, due or not.
pub async fn count_of(conn: &mut PgConnection, user: UserId) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM object_deletions WHERE user_id = $1"#,
        user.0
    )
    .fetch_one(conn)
    .await?)
}

struct Row {
    object_key: String,
    attempts: i32,
    due_at: DateTime<Utc>,
}

impl TryFrom<Row> for ListedObject {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            key: row
                .object_key
                .parse()
                .map_err(|_| StoreError::UnknownWord("object key"))?,
            attempts: row.attempts,
            due_at: row.due_at,
        })
    }
}
