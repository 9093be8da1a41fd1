//! The user's event log: what happened, in the order in which it became true, numbered without holes.

use chrono::{DateTime, Utc};
use cura_domain::UserId;
use sqlx::PgConnection;

use crate::StoreError;

/// Appends an event, in the transaction that makes it true; gives its number. Whoever appends for the same user waits
/// until that transaction ends.
///
/// # Errors
/// When Postgres fails.
pub async fn append(
    conn: &mut PgConnection,
    user: UserId,
    kind: &str,
    payload: &serde_json::Value,
    now: DateTime<Utc>,
) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"WITH next AS (
               INSERT INTO event_counters AS c (user_id, seq) VALUES ($1, 1)
               ON CONFLICT (user_id) DO UPDATE SET seq = c.seq + 1
               RETURNING seq
           )
           INSERT INTO events (user_id, seq, kind, payload, created_at) SELECT $1, seq, $2, $3, $4 FROM next
           RETURNING seq"#,
        user.0,
        kind,
        payload,
        now,
    )
    .fetch_one(conn)
    .await?)
}
