//! Connections to Postgres: opened when they are needed, and never thrown away half made.

use std::time::Duration;

use cura_store::{Database, StoreError};
use cura_tests::{Proxy, TestDatabase};
use futures_util::future::join_all;

/// How many connections there may be.
const ROOM: u32 = 5;
/// How long it takes to open one: many uses of another one.
const OPENING: Duration = Duration::from_secs(1);

/// A database behind a wire on which it takes long to open a connection.
async fn slow_to_connect() -> (TestDatabase, Proxy, Database) {
    let test_database = TestDatabase::create().await;
    let wire = Proxy::to_slow_postgres(&test_database, OPENING).await;
    let database = Database::connect_lazy(&wire.url(&test_database), "test", ROOM).unwrap();
    (test_database, wire, database)
}

async fn ask(database: &Database) {
    let asked = database.connection(async |connection| {
        sqlx::query("SELECT 1").execute(connection).await?;
        Ok::<_, StoreError>(())
    });
    asked.await.unwrap();
}

#[tokio::test]
async fn a_burst_opens_no_connection_twice() {
    let (_test_database, wire, database) = slow_to_connect().await;
    ask(&database).await;
    let callers = (0..20).map(async |_| {
        for _ in 0..100 {
            ask(&database).await;
        }
    });
    join_all(callers).await;
    let opened = wire.opened();
    assert!(opened <= ROOM as usize, "{opened} connections in all");
}

#[tokio::test]
async fn a_connection_whose_caller_has_gone_is_there_for_the_next_one() {
    let (_test_database, wire, database) = slow_to_connect().await;
    for _ in 0..20 {
        // On a busy machine the last ones may get it.
        let _ = tokio::time::timeout(OPENING / 100, ask(&database)).await;
    }
    ask(&database).await;
    let opened = wire.opened();
    assert!(opened <= ROOM as usize, "{opened} connections in all");
}

/// A database with one connection, on which everybody's work takes as long as that.
async fn work_in_turn(callers: usize, seconds: f64) -> Vec<Result<(), StoreError>> {
    let test_database = TestDatabase::create().await;
    let database = Database::connect_lazy(&test_database.url(), "test", 1).unwrap();
    let work = (0..callers).map(async |_| {
        let done = database.connection(async |connection| {
            sqlx::query("SELECT pg_sleep($1)")
                .bind(seconds)
                .execute(connection)
                .await?;
            Ok::<_, StoreError>(())
        });
        done.await
    });
    join_all(work).await
}

#[tokio::test]
async fn a_burst_is_served_in_turn_while_work_goes_on() {
    let done = work_in_turn(9, 0.5).await;
    assert!(done.iter().all(Result::is_ok), "{done:?}");
}

#[tokio::test]
async fn nobody_waits_for_long_behind_work_that_does_not_end() {
    let done = work_in_turn(2, 4.5).await;
    let refused: Vec<_> = done
        .iter()
        .filter(|done| matches!(done, Err(StoreError::Unavailable(_))))
        .collect();
    assert_eq!((done.len(), refused.len()), (2, 1), "{done:?}");
}

/// Postgres compiles what it thinks dear, by default; the queue tells it to think so of whatever reads a table.
#[tokio::test]
async fn no_session_compiles_its_statements() {
    let test_database = TestDatabase::create().await;
    let database = Database::connect_lazy(&test_database.url(), "test", ROOM).unwrap();
    let jit = database.connection(async |connection| {
        let jit: String = sqlx::query_scalar("SHOW jit").fetch_one(connection).await?;
        Ok::<_, StoreError>(jit)
    });
    assert_eq!(jit.await.unwrap(), "off");
}
