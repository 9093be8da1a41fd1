//! The list of erasures: who was erased and when, so that a restored backup is erased again.

use chrono::{DateTime, Utc};
use cura_domain::UserId;
use cura_domain::erasure::Erasure;
use sqlx::PgConnection;

use crate::StoreError;

/// The advisory lock under which numbers are given. Any number.
const NUMBERING: i64 = 7_305_375;

async fn begin_numbering(conn: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", NUMBERING)
        .execute(conn)
        .await?;
    Ok(())
}

/// Lists an erasure, as one of the last things of the transaction that begins it: others that begin wait here until it ends. Without it
/// numbers would have gaps.
pub async fn list(conn: &mut PgConnection, user: UserId, at: DateTime<Utc>) -> Result<(), StoreError> {
    begin_numbering(&mut *conn).await?;
    sqlx::query!(
        "INSERT INTO erasures (number, user_id, registered_at, erased_at)
         SELECT (SELECT COALESCE(max(number), 0) + 1 FROM erasures), id, created_at, $2 FROM users WHERE id = $1
         ON CONFLICT (user_id, registered_at) DO NOTHING",
        user.0,
        at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The erasure of a user; `None` if it began under a release that did not list it.
pub async fn find(conn: &mut PgConnection, user: UserId) -> Result<Option<Erasure>, StoreError> {
    Ok(sqlx::query_as!(
        Erasure,
        "SELECT e.number, e.user_id, e.registered_at, e.erased_at
         FROM users u JOIN erasures e ON e.user_id = u.id AND e.registered_at = u.created_at WHERE u.id = $1",
        user.0
    )
    .fetch_optional(conn)
    .await?)
}

/// At most `limit` erasures behind this number, in their order.
pub async fn list_behind(conn: &mut PgConnection, number: i64, limit: i64) -> Result<Vec<Erasure>, StoreError> {
    Ok(sqlx::query_as!(
        Erasure,
        "SELECT number, user_id, registered_at, erased_at FROM erasures WHERE number > $1 ORDER BY number LIMIT $2",
        number,
        limit
    )
    .fetch_all(conn)
    .await?)
}

/// Gives an erasure a number that none has.
pub async fn renumber(conn: &mut PgConnection, erasure: &Erasure) -> Result<(), StoreError> {
    begin_numbering(&mut *conn).await?;
    sqlx::query!(
        "UPDATE erasures SET number = (SELECT max(number) + 1 FROM erasures) WHERE number = $1 AND user_id = $2",
        erasure.number,
        erasure.user_id.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Adds erasures that the list has lost. One whose number is another's by now gets another number.
pub async fn add(conn: &mut PgConnection, erasures: &[Erasure]) -> Result<(), StoreError> {
    begin_numbering(&mut *conn).await?;
    let numbers: Vec<i64> = erasures.iter().map(|erasure| erasure.number).collect();
    let users: Vec<i64> = erasures.iter().map(|erasure| erasure.user_id.0).collect();
    let registered: Vec<DateTime<Utc>> = erasures.iter().map(|erasure| erasure.registered_at).collect();
    let erased: Vec<DateTime<Utc>> = erasures.iter().map(|erasure| erasure.erased_at).collect();
    sqlx::query!(
        "INSERT INTO erasures (number, user_id, registered_at, erased_at)
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::timestamptz[], $4::timestamptz[]) ON CONFLICT DO NOTHING",
        &numbers,
        &users,
        &registered,
        &erased,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO erasures (number, user_id, registered_at, erased_at)
         SELECT (SELECT COALESCE(max(number), 0) FROM erasures) + row_number() OVER (), l.user_id, l.registered_at, min(l.erased_at)
         FROM unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[]) AS l (user_id, registered_at, erased_at)
         WHERE NOT EXISTS (SELECT FROM erasures e WHERE e.user_id = l.user_id AND e.registered_at = l.registered_at)
         GROUP BY l.user_id, l.registered_at",
        &users,
        &registered,
        &erased,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The users who are there although they are on the list.
pub async fn list_returned(conn: &mut PgConnection) -> Result<Vec<UserId>, StoreError> {
    let ids = sqlx::query_scalar!(
        "SELECT u.id FROM erasures e JOIN users u ON u.id = e.user_id AND u.created_at = e.registered_at
         WHERE u.erased_at IS NULL ORDER BY u.id"
    );
    Ok(ids.fetch_all(conn).await?.into_iter().map(UserId).collect())
}
