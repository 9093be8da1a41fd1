//! Known places: where a user has signed in from, as keyed hashes of addresses.

use chrono::{DateTime, Utc};
use cura_domain::UserId;
use sqlx::PgConnection;

use crate::StoreError;

/// A keyed hash of an address.
pub type PlaceHash = [u8; 16];

/// Records that `user` has signed in from `place`, and forgets the places beyond the `keep` last ones.
pub async fn remember(
    conn: &mut PgConnection,
    user: UserId,
    place: &PlaceHash,
    now: DateTime<Utc>,
    keep: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"INSERT INTO known_places (user_id, place, last_used_at) VALUES ($1, $2, $3)
           ON CONFLICT (user_id, place) DO UPDATE SET last_used_at = excluded.last_used_at"#,
        user.0,
        place.as_slice(),
        now,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"DELETE FROM known_places WHERE user_id = $1 AND place IN (
               SELECT place FROM known_places WHERE user_id = $1 ORDER BY last_used_at DESC OFFSET $2)"#,
        user.0,
        keep,
    )
    .execute(conn)
    .await?;
    Ok(())
}
