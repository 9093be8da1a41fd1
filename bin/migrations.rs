//! The schema: apalis' migrations first, then Cura's, which build on them.
//!
//! Migrations run while people chat. None waits longer than [`LOCK_TIMEOUT`] for a table: whoever waits for it exclusively
//! keeps everybody behind it out. It gives up, and is tried again after a growing pause.

mod lock_retries;

use cura_backup::AppliedMigration;
use cura_store::{MIGRATOR, StoreError, restores};
use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::{PgConnection, PgPool};

pub use lock_retries::{LOCK_TIMEOUT, LOCK_TRIES};

/// One migration, and whether it has been applied.
#[derive(Debug, Clone, serde::Serialize)]
pub struct MigrationState {
    /// `apalis` or `cura`.
    pub set: &'static str,
    /// The version in the file name.
    pub version: i64,
    /// The description in the file name.
    pub description: String,
    /// Whether it has been applied.
    pub applied: bool,
}

/// Applies every pending migration. Concurrent calls wait for each other.
///
/// # Errors
/// When a migration fails, or waits [`LOCK_TRIES`] times in vain for a lock; it is rolled back, the ones before it stay.
pub async fn up(pool: &PgPool) -> Result<(), MigrateError> {
    lock_retries::alone(pool, async |connection| {
        apply(connection, "apalis", &cura_queue::migrator()).await?;
        apply(connection, "cura", &MIGRATOR).await
    })
    .await
}

async fn apply(connection: &mut PgConnection, set: &'static str, migrator: &Migrator) -> Result<(), MigrateError> {
    let pending: Vec<i64> = states(set, migrator, connection)
        .await?
        .into_iter()
        .filter(|state| !state.applied)
        .map(|state| state.version)
        .collect();
    for migration in ups(migrator).filter(|migration| pending.contains(&migration.version)) {
        lock_retries::drop_unfinished_indexes(connection, migration).await?;
        let apply = async |connection: &mut PgConnection| migrator.run_to(migration.version, connection).await;
        lock_retries::until_locked(connection, migration, apply).await?;
    }
    // With nothing pending, this still refuses a database whose migrations are not these.
    migrator.run(connection).await
}

/// Reverts Cura's last `steps` migrations and deletes their data; apalis' migrations stay. Gives the reverted versions.
///
/// # Errors
/// When a migration cannot be reverted; it is rolled back, the ones reverted before it stay reverted.
pub async fn down(pool: &PgPool, steps: usize) -> Result<Vec<i64>, MigrateError> {
    lock_retries::alone(pool, async |connection| {
        let applied: Vec<i64> = states("cura", &MIGRATOR, connection)
            .await?
            .into_iter()
            .filter(|state| state.applied)
            .map(|state| state.version)
            .collect();
        let kept = applied.len().saturating_sub(steps);
        let downs = |version| {
            let of_version = move |migration: &&Migration| migration.version == version;
            let down = |migration: &&Migration| migration.migration_type.is_down_migration();
            MIGRATOR.iter().filter(down).find(of_version)
        };
        for at in (kept..applied.len()).rev() {
            let target = at.checked_sub(1).map_or(0, |before| applied[before]);
            if let Some(migration) = downs(applied[at]) {
                let revert = async |connection: &mut PgConnection| MIGRATOR.undo(connection, target).await;
                lock_retries::until_locked(connection, migration, revert).await?;
            }
        }
        Ok(applied[kept..].iter().rev().copied().collect())
    })
    .await
}

/// Every migration, in the order in which they are applied.
pub async fn status(pool: &PgPool) -> Result<Vec<MigrationState>, MigrateError> {
    let mut connection = pool.acquire().await?;
    let mut all = states("apalis", &cura_queue::migrator(), &mut connection).await?;
    all.extend(states("cura", &MIGRATOR, &mut connection).await?);
    Ok(all)
}

/// Every migration of this version, with its checksum.
pub fn known() -> Vec<AppliedMigration> {
    let of = |set, migrator: &Migrator| -> Vec<AppliedMigration> {
        let known = ups(migrator).map(|migration| AppliedMigration::new(set, migration.version, &migration.checksum));
        known.collect()
    };
    [of("apalis", &cura_queue::migrator()), of("cura", &MIGRATOR)].concat()
}

/// Whether a restore has begun in this database and not ended: nothing may work with it then.
pub async fn is_being_restored(pool: &PgPool) -> Result<bool, StoreError> {
    let mut connection = pool.acquire().await?;
    restores::is_unfinished(&mut connection).await
}

/// How many migrations are pending.
pub async fn pending(pool: &PgPool) -> Result<usize, MigrateError> {
    Ok(status(pool).await?.iter().filter(|state| !state.applied).count())
}

async fn states(
    set: &'static str,
    migrator: &Migrator,
    connection: &mut PgConnection,
) -> Result<Vec<MigrationState>, MigrateError> {
    let table = migrator.table_name.as_ref();
    let exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(table)
        .fetch_one(&mut *connection)
        .await?;
    let applied: Vec<i64> = if exists {
        // The table name is a constant of the migrator, not input.
        let select = sqlx::AssertSqlSafe(format!("SELECT version FROM {table} WHERE success ORDER BY version"));
        sqlx::query_scalar(select).fetch_all(connection).await?
    } else {
        Vec::new()
    };
    let state = |migration: &Migration| MigrationState {
        set,
        version: migration.version,
        description: migration.description.to_string(),
        applied: applied.contains(&migration.version),
    };
    Ok(ups(migrator).map(state).collect())
}

fn ups(migrator: &Migrator) -> impl Iterator<Item = &Migration> {
    migrator
        .iter()
        .filter(|migration| !migration.migration_type.is_down_migration())
}
