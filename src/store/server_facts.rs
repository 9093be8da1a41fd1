//! What Postgres says of itself.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::StoreError;

/// What an operator wants to know of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its version, as it writes it.
    pub version: String,
    /// Its version as a number: 150004 is 15.4.
    pub version_number: i32,
    /// What its clock says.
    pub clock: DateTime<Utc>,
    /// How many connections it has for users that are not superusers.
    pub max_connections: i32,
    /// How many clients are connected, of all databases.
    pub connections: i64,
}

/// What the server says now.
pub async fn read(conn: &mut PgConnection) -> Result<ServerFacts, StoreError> {
    Ok(sqlx::query_as!(
        ServerFacts,
        r#"SELECT current_setting('server_version') AS "version!", current_setting('server_version_num')::int AS "version_number!",
                  clock_timestamp() AS "clock!",
                  current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS "max_connections!",
                  (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS "connections!""#,
    )
    .fetch_one(conn)
    .await?)
}
