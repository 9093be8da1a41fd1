//! Databases for a moment, next to ours.

use sqlx::{AssertSqlSafe, PgConnection};

use crate::StoreError;

/// How their names begin.
const PREFIX: &str = "cura_verify_";
/// The advisory lock of whoever has one. Any number.
const USING: i64 = 7_305_377;

/// Makes one and gives its name; `None` if this user may not. It is in use for as long as this session is open. Drops those that were left by somebody who was killed.
pub async fn make(conn: &mut PgConnection, random: [u8; 8]) -> Result<Option<String>, StoreError> {
    let may =
        sqlx::query_scalar!(r#"SELECT rolcreatedb OR rolsuper AS "may!" FROM pg_roles WHERE rolname = current_user"#);
    if !may.fetch_one(&mut *conn).await? {
        return Ok(None);
    }
    // Whoever has one holds a lock: if nobody does, those that are there were left.
    let left = sqlx::query_scalar!(
        r#"SELECT datname::text AS "name!" FROM pg_database
           WHERE starts_with(datname, $1) AND pg_has_role(datdba, 'USAGE')
             AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.objid = ($2::bigint)::oid)"#,
        PREFIX,
        USING
    );
    for name in left.fetch_all(&mut *conn).await? {
        // Nobody waits for it.
        let _ = drop(conn, &name).await;
    }
    sqlx::query!("SELECT pg_advisory_lock_shared($1)", USING)
        .execute(&mut *conn)
        .await?;
    let name = format!("{PREFIX}{:016x}", u64::from_be_bytes(random));
    // Letters and digits.
    let make = AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0"));
    sqlx::query(make).execute(conn).await?;
    Ok(Some(name))
}

/// Drops one, and ends whatever is connected to it.
pub async fn drop(conn: &mut PgConnection, name: &str) -> Result<(), StoreError> {
    // Letters and digits.
    let drop = AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
    sqlx::query(drop).execute(conn).await?;
    Ok(())
}
