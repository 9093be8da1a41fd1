//! How migrations wait for locks: shortly, many times, and one process at a time.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

/// How long a migration waits for a lock; everybody who comes after it to the same table waits as long.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a migration tries to get its locks: for about seven minutes in all.
pub const LOCK_TRIES: u32 = 20;
/// The pause after the first try; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between two tries.
const MAX_PAUSE: Duration = Duration::from_secs(20);
/// How often a process looks whether another one has finished migrating.
const TURN_PAUSE: Duration = Duration::from_millis(250);
/// The advisory lock of the process that migrates. Any number.
const TURN_LOCK: i64 = 7_305_330;
/// The SQLSTATEs `lock_not_available` and `deadlock_detected`, the latter with a request that holds what this waits for.
const IN_VAIN: [&str; 2] = ["55P03", "40P01"];

/// Runs `work` on a connection while no other process migrates. Others ask again and again instead of waiting inside of
/// Postgres, where an index that is built CONCURRENTLY would wait for them in turn.
pub(super) async fn alone<T>(
    pool: &PgPool,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, MigrateError>,
) -> Result<T, MigrateError> {
    // Not given back to the pool: when it closes, its locks and settings are gone, whatever happened.
    let mut connection = pool.acquire().await?.detach();
    let mut waiting = false;
    while !sqlx::query_scalar::<_, bool>("SELECT pg_try_advisory_lock($1)")
        .bind(TURN_LOCK)
        .fetch_one(&mut connection)
        .await?
    {
        if !std::mem::replace(&mut waiting, true) {
            tracing::info!("another process is migrating the database; waiting for it");
        }
        tokio::time::sleep(TURN_PAUSE).await;
    }
    let done = work(&mut connection).await;
    // Whether it closes orderly changes nothing of what was done.
    let _ = connection.close().await;
    done
}

/// Applies or reverts a migration; again when it could not get a lock, after a growing pause in which others use the table.
pub(super) async fn until_locked(
    connection: &mut PgConnection,
    migration: &Migration,
    run: impl AsyncFn(&mut PgConnection) -> Result<(), MigrateError>,
) -> Result<(), MigrateError> {
    set_lock_timeout(connection, lock_timeout_of(migration)).await?;
    let mut pause = FIRST_PAUSE;
    for attempt in 1..LOCK_TRIES {
        match run(connection).await {
            Err(error) if waited_in_vain(&error) => {
                tracing::warn!(
                    migration = migration.version,
                    description = %migration.description,
                    attempt,
                    of = LOCK_TRIES,
                    pause_s = pause.as_secs(),
                    "a migration could not lock a table that others use; trying again"
                );
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(MAX_PAUSE);
            }
            done => return done,
        }
    }
    run(connection).await
}

/// What makes or drops an index CONCURRENTLY waits for open transactions and keeps nobody out meanwhile, so it may take its
/// time; after a timeout it would begin anew.
fn lock_timeout_of(migration: &Migration) -> Duration {
    let is_concurrent = migration.no_tx && migration.sql.as_str().to_uppercase().contains("INDEX CONCURRENTLY");
    if is_concurrent { Duration::ZERO } else { LOCK_TIMEOUT }
}

async fn set_lock_timeout(connection: &mut PgConnection, timeout: Duration) -> Result<(), MigrateError> {
    sqlx::query("SELECT set_config('lock_timeout', $1, false)")
        .bind(timeout.as_millis().to_string())
        .execute(connection)
        .await?;
    Ok(())
}

fn waited_in_vain(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else {
        return false;
    };
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| IN_VAIN.contains(&&*code))
}

/// Drops the invalid index that a process left which ended while this migration built it CONCURRENTLY.
pub(super) async fn drop_unfinished_indexes(
    connection: &mut PgConnection,
    migration: &Migration,
) -> Result<(), MigrateError> {
    if !migration.no_tx {
        return Ok(());
    }
    let invalid: Vec<(String, String)> = sqlx::query_as(
        "SELECT c.relname::text, c.oid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         WHERE NOT i.indisvalid",
    )
    .fetch_all(&mut *connection)
    .await?;
    let words: Vec<&str> = migration
        .sql
        .as_str()
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .collect();
    for (name, qualified) in invalid.iter().filter(|(name, _)| words.contains(&name.as_str())) {
        tracing::warn!(
            index = name,
            migration = migration.version,
            "dropping an index that was not built to its end"
        );
        set_lock_timeout(connection, Duration::ZERO).await?;
        // Quoted by Postgres where it has to be.
        let drop = AssertSqlSafe(format!("DROP INDEX CONCURRENTLY {qualified}"));
        sqlx::query(drop).execute(&mut *connection).await?;
    }
    Ok(())
}
