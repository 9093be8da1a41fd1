//! What a restore asks of a database and changes in it, before and after `pg_restore`.
//!
//! From its first change to its last one, the schema `cura_restore` says that a restore is unfinished. It keeps what must outlive the
//! database that is replaced: the list of erasures, and what operators did.

use chrono::{DateTime, Utc};
use cura_domain::UserId;
use cura_domain::erasure::Erasure;
use serde::Serialize;
use sqlx::PgConnection;

use crate::StoreError;

/// The advisory lock of a restore. Any number.
const RESTORING: i64 = 7_305_376;
/// By how much ids are raised at least: more than a backup can have missed. A token, link or cursor of what was lost must not fit something
/// new.
const LOST_IDS: i64 = 10_000_000;
/// How many more for each second since [`IDS_BEGIN`]: whoever restores the same backup again gives other ids than the time before.
const IDS_A_SECOND: i64 = 1000;
/// The beginning of 2026, in seconds.
const IDS_BEGIN: i64 = 1_767_225_600;

/// What is in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occupancy {
    /// Whether there is anything of ours, or of somebody else's in our schemas.
    pub is_occupied: bool,
    /// Whether a restore has begun and not ended.
    pub is_unfinished: bool,
}

/// An act of an operator that a restore has undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UndoneAct {
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub action: String,
    /// To whom, or to what.
    pub target: Option<String>,
}

/// Takes the lock of restores until the session ends; `false` if another one has it.
pub async fn try_lock(conn: &mut PgConnection) -> Result<bool, StoreError> {
    let locked = sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1) AS "locked!""#, RESTORING);
    Ok(locked.fetch_one(conn).await?)
}

/// The programs that work with this database, or are restoring it for somebody who was killed. Commands of `cura-admin` are not among them.
pub async fn list_connected(conn: &mut PgConnection) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT DISTINCT application_name AS "name!" FROM pg_stat_activity
           WHERE datname = current_database() AND pid <> pg_backend_pid()
             AND (starts_with(application_name, 'cura-') OR application_name IN ('pg_restore', 'pg_dump'))
             AND application_name <> 'cura-admin'
           ORDER BY 1"#
    )
    .fetch_all(conn)
    .await?)
}

/// The major version of the server.
pub async fn server_major(conn: &mut PgConnection) -> Result<u32, StoreError> {
    let version = sqlx::query_scalar!(r#"SELECT current_setting('server_version_num')::int AS "version!""#);
    Ok(version.fetch_one(conn).await?.unsigned_abs() / 10_000)
}

/// How many erasures the database lists that is to be replaced; 0 if it is empty.
pub async fn count_erasures(conn: &mut PgConnection) -> Result<i64, StoreError> {
    let mut counted = 0;
    for table in ["public.erasures", "cura_restore.erasures"] {
        let exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(table)
            .fetch_one(&mut *conn)
            .await?;
        if exists {
            // One of two constants.
            let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
            counted = counted.max(sqlx::query_scalar(count).fetch_one(&mut *conn).await?);
        }
    }
    Ok(counted)
}

/// The erasures that the database listed that was replaced.
pub async fn list_kept_erasures(conn: &mut PgConnection) -> Result<Vec<Erasure>, StoreError> {
    // The schema is there only while a restore is.
    let kept = "SELECT number, user_id, registered_at, erased_at FROM cura_restore.erasures ORDER BY number";
    let rows: Vec<(i64, i64, DateTime<Utc>, DateTime<Utc>)> = sqlx::query_as(kept).fetch_all(conn).await?;
    let erasures = rows
        .into_iter()
        .map(|(number, user_id, registered_at, erased_at)| Erasure {
            number,
            user_id: UserId(user_id),
            registered_at,
            erased_at,
        });
    Ok(erasures.collect())
}

/// Makes the schemas that hold extensions, where they are not there.
pub async fn make_schemas(conn: &mut PgConnection, names: &[String]) -> Result<(), StoreError> {
    for name in names {
        let name = name.replace('"', "\"\"");
        // Quoted.
        let make = sqlx::AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS \"{name}\""));
        sqlx::query(make).execute(&mut *conn).await?;
    }
    Ok(())
}

/// What an operator did since a moment, at most `limit`, in its order: it is not in a backup of that moment.
pub async fn list_acts_since(
    conn: &mut PgConnection,
    moment: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<UndoneAct>, StoreError> {
    Ok(sqlx::query_as!(
        UndoneAct,
        "SELECT at, action, target FROM operator_actions
         WHERE at > $1 AND failure IS NULL AND action NOT IN ('restore', 'backup.make') ORDER BY id LIMIT $2",
        moment,
        limit
    )
    .fetch_all(conn)
    .await?)
}

/// Whether a restore has begun in this database and not ended.
pub async fn is_unfinished(conn: &mut PgConnection) -> Result<bool, StoreError> {
    let found = sqlx::query_scalar!(r#"SELECT to_regclass('cura_restore.unfinished') IS NOT NULL AS "found!""#);
    Ok(found.fetch_one(conn).await?)
}

/// What is in this database.
pub async fn look(conn: &mut PgConnection) -> Result<Occupancy, StoreError> {
    let is_occupied = sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname IN ('public', 'apalis')
                 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
           ) OR EXISTS (
               SELECT FROM pg_proc p
               WHERE p.pronamespace = 'public'::regnamespace
                 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
           ) OR EXISTS (
               SELECT FROM pg_type t
               WHERE t.typnamespace = 'public'::regnamespace AND t.typtype IN ('e', 'd')
                 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
           ) OR EXISTS (SELECT FROM pg_namespace WHERE nspname = 'apalis') AS "is_occupied!""#
    );
    Ok(Occupancy {
        is_occupied: is_occupied.fetch_one(&mut *conn).await?,
        is_unfinished: is_unfinished(conn).await?,
    })
}

/// Says that a restore has begun, keeps what must outlive the database, and empties our schemas. All of it or nothing happens.
pub async fn begin(conn: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::raw_sql(include_str!("restores/begin.sql")).execute(conn).await?;
    Ok(())
}

/// Makes what was restored safe to be used, in the transaction that says that the restore has ended: every session ends, and its devices
/// go; cursors lead to `resync`; no id is given again; archives of accounts, which are in no backup, are forgotten; and what was kept of
/// the database before is put back.
pub async fn settle(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<(), StoreError> {
    let raised = LOST_IDS + (now.timestamp() - IDS_BEGIN).max(0) * IDS_A_SECOND;
    sqlx::query!("UPDATE sessions SET ended_at = $1 WHERE ended_at IS NULL", now)
        .execute(&mut *conn)
        .await?;
    sqlx::query!("DELETE FROM tickets").execute(&mut *conn).await?;
    sqlx::query!(
        "DELETE FROM exports e WHERE EXISTS (SELECT FROM export_objects o WHERE o.export_id = e.id AND o.is_stored)"
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO event_counters AS c (user_id, seq) SELECT id, $1 FROM users
         ON CONFLICT (user_id) DO UPDATE SET seq = c.seq + $1",
        raised,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, COALESCE(last_value, 0) + $1) AS "raised!"
           FROM pg_sequences WHERE schemaname IN ('public', 'apalis') AND data_type = 'bigint'::regtype"#,
        raised,
    )
    .fetch_all(&mut *conn)
    .await?;
    // The schema is there only while a restore is.
    for statement in [
        "INSERT INTO operator_actions (id, at, operator, via, action, target, arguments, failure) OVERRIDING SYSTEM VALUE
         SELECT id, at, operator, via, action, target, arguments, failure FROM cura_restore.operator_actions
         ON CONFLICT (id) DO NOTHING",
        "INSERT INTO backups (taken_at, finished_at, size, is_encrypted, is_scheduled)
         SELECT taken_at, finished_at, size, is_encrypted, is_scheduled FROM cura_restore.backups b
         WHERE NOT EXISTS (SELECT FROM backups known WHERE known.finished_at = b.finished_at) ORDER BY id",
    ] {
        sqlx::query(statement).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Says that the restore has ended, as the last thing of its transaction.
pub async fn end(conn: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::raw_sql("DROP SCHEMA cura_restore CASCADE").execute(conn).await?;
    Ok(())
}
