//! Which backups were made.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use crate::StoreError;

/// How many are remembered.
const KEPT: i64 = 1000;

/// A backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Made {
    /// The moment that it is of.
    pub taken_at: DateTime<Utc>,
    /// When it was whole.
    pub finished_at: DateTime<Utc>,
    /// In bytes.
    pub size: i64,
    /// Whether it is encrypted.
    pub is_encrypted: bool,
    /// Whether a schedule has asked for it.
    pub is_scheduled: bool,
}

/// Remembers a backup, and forgets those long before it.
pub async fn insert(conn: &mut PgConnection, made: &Made) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO backups (taken_at, finished_at, size, is_encrypted, is_scheduled) VALUES ($1, $2, $3, $4, $5)",
        made.taken_at,
        made.finished_at,
        made.size,
        made.is_encrypted,
        made.is_scheduled,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM backups WHERE id <= (SELECT max(id) FROM backups) - $1",
        KEPT
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The last one; `None` if there was none.
pub async fn find_last(conn: &mut PgConnection) -> Result<Option<Made>, StoreError> {
    Ok(sqlx::query_as!(
        Made,
        "SELECT taken_at, finished_at, size, is_encrypted, is_scheduled FROM backups ORDER BY id DESC LIMIT 1"
    )
    .fetch_optional(conn)
    .await?)
}
