//! The schema: apalis' migrations first, then ours, which build on them.

use cura_store::MIGRATOR;
use sqlx::PgPool;
use sqlx::migrate::{MigrateError, Migrator};

/// One migration and whether the database has it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct MigrationState {
    /// `apalis` or `cura`.
    pub set: &'static str,
    /// Its number.
    pub version: i64,
    /// What it does.
    pub description: String,
    /// Whether the database has it.
    pub applied: bool,
}

/// Applies everything that is missing. Several at once wait for each other.
///
/// # Errors
/// When a migration fails; it leaves nothing behind.
pub async fn up(pool: &PgPool) -> Result<(), MigrateError> {
    cura_queue::migrator().run(pool).await?;
    MIGRATOR.run(pool).await
}

/// Takes back our last `steps` migrations, and with them their data. apalis' own stay. Gives back the versions.
///
/// # Errors
/// When a migration cannot be taken back; it leaves nothing behind.
pub async fn down(pool: &PgPool, steps: usize) -> Result<Vec<i64>, MigrateError> {
    let applied: Vec<i64> = ours(pool)
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

/// Every migration and whether the database has it, in the order in which they are applied.
///
/// # Errors
/// When the database does not answer.
pub async fn status(pool: &PgPool) -> Result<Vec<MigrationState>, MigrateError> {
    let mut all = states("apalis", &cura_queue::migrator(), pool).await?;
    all.extend(ours(pool).await?);
    Ok(all)
}

/// How many migrations are missing.
///
/// # Errors
/// When the database does not answer.
pub async fn pending(pool: &PgPool) -> Result<usize, MigrateError> {
    Ok(status(pool).await?.iter().filter(|state| !state.applied).count())
}

async fn ours(pool: &PgPool) -> Result<Vec<MigrationState>, MigrateError> {
    states("cura", &MIGRATOR, pool).await
}

async fn states(set: &'static str, migrator: &Migrator, pool: &PgPool) -> Result<Vec<MigrationState>, MigrateError> {
    let table = migrator.table_name.as_ref();
    let exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(table)
        .fetch_one(pool)
        .await?;
    let applied: Vec<i64> = if exists {
        // A constant of a migrator, not input.
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
