//! Postgres fails over: sessions that cannot write are replaced, requests are refused for a while, and no answer is lost or written
//! twice.

use std::time::Duration;

use cura_store::{Database, StoreError};
use cura_tests::{Client, Cura, PostgresPair, Program, ScriptedProvider, TestDatabase, eventually, interrupted_answer};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::sync::{Barrier, Notify};

/// What a use case does that writes.
async fn write(database: &Database) -> Result<(), StoreError> {
    let written = database.connection(async |connection| {
        sqlx::query("CREATE TABLE IF NOT EXISTS written (at timestamptz)")
            .execute(connection)
            .await?;
        Ok(())
    });
    written.await
}

/// Waits until requests are refused, and checks how.
async fn refused(cura: &Cura, user: &Client) {
    eventually("it is noticed", async || {
        (user.get("/health/ready").await.status == 503).then_some(())
    })
    .await;
    for reply in [
        user.post("/chat/send", &json!({ "content": "Hi" })).await,
        cura.client()
            .post("/auth/login", &json!({ "email": "a@example.com", "password": "b" }))
            .await,
        user.get("/conversations").await,
        user.get("/health/ready").await,
    ] {
        let told = (reply.status.as_u16(), reply.code());
        assert_eq!(told, (503, "database_unavailable"), "{}", reply.body);
        assert!(reply.header("retry-after").is_some());
    }
    let health = user.get("/health").await;
    assert_eq!(
        (health.status.as_u16(), &health.body["database"]["status"]),
        (503, &json!("down"))
    );
}

/// Waits until it answers.
async fn answers(user: &Client) {
    let sent = eventually("it answers again", async || {
        let sent = user.post("/chat/send", &json!({ "content": "Hi again" })).await;
        (sent.status == 200).then_some(sent)
    })
    .await;
    assert_eq!(sent.body["assistant_message"]["status"], "sent", "{}", sent.body);
    ready(user).await;
}

/// Waits until it is ready, which is asked once a second.
async fn ready(user: &Client) {
    eventually("it is ready", async || {
        (user.get("/health/ready").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_session_that_has_become_read_only_costs_one_write() {
    let test_database = TestDatabase::create().await;
    let database = Database::connect_lazy(&test_database.url(), "test", 3).unwrap();
    let all_are_in_use = Barrier::new(3);
    let become_read_only = || async {
        let done = database.connection(async |connection| {
            let read_only = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY";
            connection.execute(read_only).await?;
            all_are_in_use.wait().await;
            Ok::<_, StoreError>(())
        });
        done.await.unwrap();
    };
    tokio::join!(become_read_only(), become_read_only(), become_read_only());
    assert!(matches!(write(&database).await, Err(StoreError::Unavailable(_))));
    for _ in 0..5 {
        write(&database).await.expect("another session");
    }
}

#[tokio::test]
async fn a_session_that_may_be_read_only_is_not_handed_to_who_waits_for_one() {
    let test_database = TestDatabase::create().await;
    let database = Database::connect_lazy(&test_database.url(), "test", 2).unwrap();
    let (both_are_in_use, noticed) = (Barrier::new(2), Notify::new());
    let (end_first, end_second) = (Notify::new(), Notify::new());
    let read_only = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY";
    let first = database.connection(async |connection| {
        connection.execute(read_only).await?;
        both_are_in_use.wait().await;
        end_first.notified().await;
        Ok::<_, StoreError>(())
    });
    let second = database.connection(async |connection| {
        connection.execute(read_only).await?;
        both_are_in_use.wait().await;
        let refused = connection.execute("CREATE TABLE refused ()").await;
        let refused = refused.map_err(StoreError::from);
        assert!(matches!(refused, Err(StoreError::Unavailable(_))));
        noticed.notify_one();
        end_second.notified().await;
        Ok::<_, StoreError>(())
    });
    let waiting = async {
        noticed.notified().await;
        let (written, ()) = tokio::join!(write(&database), async {
            tokio::task::yield_now().await;
            end_first.notify_one();
        });
        written.expect("another session");
        end_second.notify_one();
    };
    let (first, second, ()) = tokio::join!(first, second, waiting);
    first.unwrap();
    second.unwrap();
}

#[tokio::test]
async fn a_probe_finds_a_read_only_session_before_a_write_does() {
    let test_database = TestDatabase::create().await;
    let database = Database::connect_lazy(&test_database.url(), "test", 1).unwrap();
    let become_read_only = database.connection(async |connection| {
        connection
            .execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
            .await?;
        Ok::<_, StoreError>(())
    });
    become_read_only.await.unwrap();
    assert!(matches!(database.ping().await, Err(StoreError::Unavailable(_))));
    write(&database).await.expect("another session");
    database.ping().await.expect("it accepts writes");
}

#[tokio::test]
async fn sessions_that_stay_read_only_after_a_failover_are_replaced() {
    let provider = ScriptedProvider::answering(&["Here ", "I am"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    assert_eq!(user.post("/chat/send", &json!({ "content": "Hi" })).await.status, 200);
    let mut admin = PgConnection::connect(&cura.database.url()).await.unwrap();
    let name = cura.database.name();
    let read_only = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    admin.execute(AssertSqlSafe(read_only)).await.unwrap();
    let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                     WHERE datname = current_database() AND pid <> pg_backend_pid()";
    admin.execute(terminate).await.unwrap();
    refused(&cura, &user).await;
    // Sessions that are open by now stay read only.
    let reset = format!("ALTER DATABASE {name} RESET default_transaction_read_only");
    admin.execute(AssertSqlSafe(reset)).await.unwrap();
    answers(&user).await;
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_standby_that_takes_over_in_the_middle_of_an_answer_costs_no_word() {
    let mut pair = PostgresPair::start().await;
    let mut answer = interrupted_answer().start_on_database(pair.database().await).await;
    answer.until_checkpointed().await;
    let user = answer.user.clone();
    pair.kill_primary();
    // The address leads to a server that is not the primary yet.
    pair.proxy.move_to(pair.standby_port());
    refused(&answer.cura, &user).await;
    let mut second = Program::start("cura-worker", &["--wait", "1"], &answer.cura.variables_with(&[]));
    assert_eq!(second.ended().await, Some(1));
    let said = second.logs();
    assert!(
        said.contains("error: DATABASE_URL names a Postgres that accepts no writes"),
        "{said}"
    );
    pair.promote_standby();
    ready(&user).await;
    answer.finish().await;
    answers(&user).await;
    assert_eq!(answer.text_seen(), answer.text());
    assert_eq!(answer.last().name, "complete");
    answer.cura.check_invariants().await;
}
