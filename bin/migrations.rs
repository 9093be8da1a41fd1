//! The schema: apalis' migrations first, then Cura's, which build on them.

use cura_store::MIGRATOR;
use sqlx::PgPool;
use sqlx::migrate::{MigrateError, Migrator};

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
/// When a migration fails; it is rolled back, the ones before it stay.
pub async fn up(pool: &PgPool) -> Result<(), MigrateError> {
    cura_queue::migrator().run(pool).await?;
    MIGRATOR.run(pool).await
}

/// Reverts Cura's last `steps` migrations and deletes their data; apalis' migrations stay. Gives the reverted versions.
///
/// # Errors
/// When a migration cannot be reverted; it is rolled back, the ones reverted before it stay reverted.
pub async fn down(pool: &PgPool, steps: usize) -> Result<Vec<i64>, MigrateError> {
    let applied: Vec<i64> = of_cura(pool)
        .await?
        .into_iter()
        .filter(|state| state.applied)
        .map(|state| state.version)
        .collect();
    let kept = applied.len().saturating_sub(steps);
    let target = kept.checked_sub(1).map_or(0, |last| applied[last]);
    MIGRATOR.undo(pool, target).await?;
    Ok(applied[kept..].iter().rev().copied().collect())
}

/// Every migration, in the order in which they are applied.
pub async fn status(pool: &PgPool) -> Result<Vec<MigrationState>, MigrateError> {
    let mut all = states("apalis", &cura_queue::migrator(), pool).await?;
    all.extend(of_cura(pool).await?);
    Ok(all)
}

/// How many migrations are pending.
pub async fn pending(pool: &PgPool) -> Result<usize, MigrateError> {
    Ok(status(pool).await?.iter().filter(|state| !state.applied).count())
}

async fn of_cura(pool: &PgPool) -> Result<Vec<MigrationState>, MigrateError> {
    states("cura", &MIGRATOR, pool).await
}

async fn states(set: &'static str, migrator: &Migrator, pool: &PgPool) -> Result<Vec<MigrationState>, MigrateError> {
    let table = migrator.table_name.as_ref();
    let exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(table)
        .fetch_one(pool)
        .await?;
    let applied: Vec<i64> = if exists {
        // The table name is a constant of the migrator, not input.
        let select = sqlx::AssertSqlSafe(format!("SELECT version FROM {table} WHERE success ORDER BY version"));
        sqlx::query_scalar(select).fetch_all(pool).await?
    } else {
        Vec::new()
    };
    let known = migrator
        .iter()
        .filter(|migration| !migration.migration_type.is_down_migration());
    let state = |migration: &sqlx::migrate::Migration| MigrationState {
        set,
        version: migration.version,
        description: migration.description.to_string(),
        applied: applied.contains(&migration.version),
    };
    Ok(known.map(state).collect())
}
