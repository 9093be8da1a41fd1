//! A migration that waits for a table must not keep everybody else out of it.

use std::time::Duration;

use cura_tests::{Program, TestDatabase, eventually};
use sqlx::Connection as _;

/// Runs `cura-admin migrate` to its end.
fn migrate(arguments: &[&str], variables: &[(&'static str, String)]) {
    let output = std::process::Command::new(cura_tests::program::path("cura-admin"))
        .arg("migrate")
        .args(arguments)
        .env_clear()
        .envs(variables.iter().map(|(name, value)| (*name, value)))
        .current_dir("/tmp")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Reverts the migration of this number and those after it.
fn revert_from(version: i64, variables: &[(&'static str, String)]) {
    let newer = cura_store::MIGRATOR
        .iter()
        .filter(|migration| migration.version >= version && !migration.migration_type.is_down_migration());
    migrate(&["down", "--yes", "--steps", &newer.count().to_string()], variables);
}

/// A database without Cura's tables but with the queue's, whose first migration changes the jobs.
async fn with_the_queue_only() -> (TestDatabase, Vec<(&'static str, String)>) {
    let database = TestDatabase::empty().await;
    let variables = vec![("DATABASE_URL", database.url())];
    migrate(&["up"], &variables);
    migrate(&["down", "--steps", "99", "--yes"], &variables);
    (database, variables)
}

#[tokio::test]
async fn a_migration_that_waits_for_a_table_lets_others_pass_and_tries_again() {
    let (database, variables) = with_the_queue_only().await;
    let mut writer = database.pool().begin().await.unwrap();
    sqlx::query("LOCK TABLE apalis.jobs IN ROW EXCLUSIVE MODE")
        .execute(&mut *writer)
        .await
        .unwrap();
    let migrating = Program::start("cura-admin", &["migrate", "up"], &variables);
    migrating.wait_for_log("could not lock a table that others use").await;
    // Others write meanwhile: at the latest when the migration has given up, after two seconds.
    let mut other = sqlx::PgConnection::connect(&database.url()).await.unwrap();
    for wait in ["SET lock_timeout = '5s'", "DELETE FROM apalis.jobs"] {
        sqlx::query(wait).execute(&mut other).await.unwrap();
    }
    writer.commit().await.unwrap();
    until_migrated(&database).await;
}

#[tokio::test]
async fn a_migration_that_waits_for_who_waits_for_it_tries_again() {
    let database = TestDatabase::create().await;
    let variables = vec![("DATABASE_URL", database.url())];
    revert_from(34, &variables);
    let mut request = database.pool().begin().await.unwrap();
    for hold in [
        // It is the migration that notices.
        "SET LOCAL deadlock_timeout = '1min'",
        "LOCK TABLE messages IN ROW EXCLUSIVE MODE",
    ] {
        sqlx::query(hold).execute(&mut *request).await.unwrap();
    }
    let migrating = Program::start("cura-admin", &["migrate", "up"], &variables);
    database.wait_for_lock_waiter().await;
    sqlx::query("LOCK TABLE users IN ROW SHARE MODE")
        .execute(&mut *request)
        .await
        .unwrap();
    migrating.wait_for_log("could not lock a table that others use").await;
    request.commit().await.unwrap();
    until_migrated(&database).await;
}

#[tokio::test]
async fn two_that_migrate_at_once_do_it_one_after_the_other() {
    let (database, variables) = with_the_queue_only().await;
    let mut others = sqlx::PgConnection::connect(&database.url()).await.unwrap();
    sqlx::query("SELECT pg_advisory_lock(7305330)")
        .execute(&mut others)
        .await
        .unwrap();
    let programs = [0, 1].map(|_| Program::start("cura-admin", &["migrate", "up"], &variables));
    for program in &programs {
        program.wait_for_log("another process is migrating the database").await;
    }
    // Whoever builds an index CONCURRENTLY waits for every open transaction: those that wait for their turn have none.
    let open = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'cura-admin' AND backend_xmin IS NOT NULL
                  AND state <> 'idle' AND now() - query_start > interval '1 second'";
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(database.count(open).await, 0);
    others.close().await.unwrap();
    until_migrated(&database).await;
}

#[tokio::test]
async fn an_index_whose_building_was_interrupted_is_built_again() {
    let database = TestDatabase::create().await;
    let variables = vec![("DATABASE_URL", database.url())];
    revert_from(16, &variables);
    for leave in [
        "CREATE INDEX refresh_tokens_created_at_idx ON refresh_tokens (created_at)",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'refresh_tokens_created_at_idx'::regclass",
    ] {
        sqlx::query(leave).execute(database.pool()).await.unwrap();
    }
    migrate(&["up"], &variables);
    let valid =
        "SELECT count(*) FROM pg_index WHERE indisvalid AND indexrelid = 'refresh_tokens_created_at_idx'::regclass";
    assert_eq!(database.count(valid).await, 1);
}

async fn until_migrated(database: &TestDatabase) {
    let newest = cura_store::MIGRATOR
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap();
    eventually("every migration is applied", async || {
        let applied: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
            .fetch_one(database.pool())
            .await
            .unwrap();
        (applied == Some(newest)).then_some(())
    })
    .await;
}
