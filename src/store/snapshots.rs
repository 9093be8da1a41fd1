//! What a backup reads: the database as it was at one moment, which `pg_dump` is told by the id of the snapshot.
//!
//! On a connection without limits of time, which is kept as long as `pg_dump` has not begun: with it, the snapshot ends.

use chrono::{DateTime, Utc};
use cura_domain::object_key::ObjectKey;
use futures_util::{Stream, TryStreamExt as _};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::StoreError;

/// A snapshot that other sessions can use while its transaction is open.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its id.
    pub id: String,
    /// The moment that it shows.
    pub taken_at: DateTime<Utc>,
    /// The major version of the server.
    pub server_major: u32,
}

/// A migration that was applied.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Its number.
    pub version: i64,
    /// The checksum of its text.
    pub checksum: Vec<u8>,
}

/// An object of the file store that a row names.
#[derive(Debug)]
pub struct NamedObject {
    /// Its key.
    pub key: ObjectKey,
    /// In bytes.
    pub size: i64,
    /// `None` for a picture: only its size is known.
    pub sha256: Option<Vec<u8>>,
}

/// Begins a transaction that shows one moment, and exports its snapshot.
pub async fn begin(conn: &mut PgConnection) -> Result<Snapshot, StoreError> {
    sqlx::query("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .execute(&mut *conn)
        .await?;
    let row = sqlx::query!(
        r#"SELECT pg_export_snapshot() AS "id!", now() AS "taken_at!", current_setting('server_version_num')::int AS "version!""#
    )
    .fetch_one(conn)
    .await?;
    Ok(Snapshot {
        id: row.id,
        taken_at: row.taken_at,
        server_major: row.version.unsigned_abs() / 10_000,
    })
}

/// Ends the transaction, with its connection.
pub async fn end(conn: PgConnection) -> Result<(), StoreError> {
    Ok(conn.close().await?)
}

/// The tables of ours and of the queue, with their schemas.
pub async fn list_tables(conn: &mut PgConnection) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT format('%I.%I', n.nspname, c.relname) AS "name!"
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('public', 'apalis')
             AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
           ORDER BY 1"#
    )
    .fetch_all(conn)
    .await?)
}

/// How many rows a table of [`list_tables`] has. Reads all of it.
pub async fn count_rows(conn: &mut PgConnection, table: &str) -> Result<i64, StoreError> {
    // A quoted name from the catalog, not input.
    let count = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    Ok(sqlx::query_scalar(count).fetch_one(conn).await?)
}

/// The schemas that are neither ours nor Postgres' own.
pub async fn list_other_schemas(conn: &mut PgConnection) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT nspname::text AS "name!" FROM pg_namespace
           WHERE nspname NOT IN ('public', 'apalis', 'information_schema') AND NOT starts_with(nspname, 'pg_')
           ORDER BY 1"#
    )
    .fetch_all(conn)
    .await?)
}

/// The schemas beside ours that hold the extensions which our tables need, as Supabase's do.
pub async fn list_extension_schemas(conn: &mut PgConnection) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT DISTINCT n.nspname::text AS "name!" FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
           WHERE e.extname IN ('pgcrypto', 'hstore') AND n.nspname NOT IN ('public', 'apalis', 'pg_catalog') ORDER BY 1"#
    )
    .fetch_all(conn)
    .await?)
}

/// The migrations that this table of a migrator lists; none if there is no such table.
pub async fn list_migrations(conn: &mut PgConnection, table: &str) -> Result<Vec<Applied>, StoreError> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(table)
        .fetch_one(&mut *conn)
        .await?;
    if !exists {
        return Ok(Vec::new());
    }
    // The table name is a constant of the migrator, not input.
    let select = AssertSqlSafe(format!(
        "SELECT version, checksum FROM {table} WHERE success ORDER BY version"
    ));
    let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(select).fetch_all(conn).await?;
    let applied = rows
        .into_iter()
        .map(|(version, checksum)| Applied { version, checksum });
    Ok(applied.collect())
}

/// Every object that the file store is known to have: of files that are kept, of pictures, and of avatars. Archives of accounts are not
/// among them, because they are gone within the hour.
pub fn list_objects(conn: &mut PgConnection) -> impl Stream<Item = Result<NamedObject, StoreError>> + Send {
    let rows = sqlx::query!(
        r#"SELECT object_key AS "key!", size AS "size!", sha256 FROM files WHERE status NOT IN ('storing', 'infected')
           UNION ALL SELECT object_key, size, NULL FROM file_pictures WHERE is_stored
           UNION ALL SELECT object_key, size, NULL FROM avatar_pictures WHERE is_shown"#
    )
    .fetch(conn);
    rows.map_err(StoreError::from).and_then(|row| async move {
        Ok(NamedObject {
            key: row.key.parse().map_err(|_| StoreError::UnknownWord("object_key"))?,
            size: row.size,
            sha256: row.sha256,
        })
    })
}
