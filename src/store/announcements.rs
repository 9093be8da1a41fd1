//! What operators tell everybody. One at a time is made, so that one with a higher id is never read before one with a lower one.

use chrono::{DateTime, TimeDelta, Utc};
use cura_domain::AnnouncementId;
use cura_domain::announcement::{Announcement, AnnouncementText, AnnouncementTitle};
use sqlx::PgConnection;

use crate::StoreError;

/// The channel on which a trigger notifies every change (migration 0080).
pub const ANNOUNCEMENTS_CHANNEL: &str = "cura_announcements";
/// The most announcements that are told at a time: everybody who connects gets each of them.
pub const MAX_LIVING: i64 = 5;
/// How long announcements are kept that are over.
const KEPT: TimeDelta = TimeDelta::days(90);

/// Makes an announcement, if the transaction of `conn` commits; `None` if as many as may be are told already. Deletes those that were over
/// long ago.
pub async fn insert(
    conn: &mut PgConnection,
    title: &AnnouncementTitle,
    text: &AnnouncementText,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Option<Announcement>, StoreError> {
    sqlx::query!("LOCK TABLE announcements IN SHARE ROW EXCLUSIVE MODE")
        .execute(&mut *conn)
        .await?;
    sqlx::query!("DELETE FROM announcements WHERE until < $1", now - KEPT)
        .execute(&mut *conn)
        .await?;
    Ok(sqlx::query_as!(
        Announcement,
        "INSERT INTO announcements (title, text, until, created_at)
         SELECT $1, $2, $3, $4 WHERE (SELECT count(*) FROM announcements WHERE until > $4) < $5
         RETURNING id, title, text, until, created_at",
        title.as_str(),
        text.as_str(),
        until,
        now,
        MAX_LIVING,
    )
    .fetch_optional(conn)
    .await?)
}

/// What is to be told now, oldest first: the newest ones, should clocks differ about how many are over.
pub async fn list_living(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Vec<Announcement>, StoreError> {
    Ok(sqlx::query_as!(
        Announcement,
        r#"SELECT id AS "id!", title AS "title!", text AS "text!", until AS "until!", created_at AS "created_at!"
           FROM (SELECT * FROM announcements WHERE until > $1 ORDER BY id DESC LIMIT $2) newest ORDER BY id"#,
        now,
        MAX_LIVING,
    )
    .fetch_all(conn)
    .await?)
}

/// At most `limit` announcements, newest first, those that are over included.
pub async fn list(
    conn: &mut PgConnection,
    before: Option<AnnouncementId>,
    limit: i64,
) -> Result<Vec<Announcement>, StoreError> {
    Ok(sqlx::query_as!(
        Announcement,
        "SELECT id, title, text, until, created_at FROM announcements WHERE id < $1 ORDER BY id DESC LIMIT $2",
        before.map_or(i64::MAX, |before| before.0),
        limit,
    )
    .fetch_all(conn)
    .await?)
}

/// Ends an announcement now, unless it is over already; `None` if there is none with this id.
pub async fn end(
    conn: &mut PgConnection,
    id: AnnouncementId,
    now: DateTime<Utc>,
) -> Result<Option<Announcement>, StoreError> {
    Ok(sqlx::query_as!(
        Announcement,
        "UPDATE announcements SET until = least(until, $2) WHERE id = $1
         RETURNING id, title, text, until, created_at",
        id.0,
        now,
    )
    .fetch_optional(conn)
    .await?)
}
