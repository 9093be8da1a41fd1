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
