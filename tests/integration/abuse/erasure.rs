//! Erasing somebody with many rows takes as long as there are rows, and delays nobody else's erasure.

use cura_domain::UserId;
use cura_store::personal_data::TABLES;
use cura_store::{Database, StoreError};
use cura_tests::{Client, Cura, TestDatabase, eventually};
use reqwest::Method;
use serde_json::json;

async fn erase(client: &Client) {
    let request = client.request(Method::DELETE, "/users/me");
    let erased = client
        .send(request.json(&json!({ "password": "a long password" })))
        .await;
    assert_eq!(erased.status, 204, "{}", erased.body);
}

#[tokio::test]
async fn a_small_erasure_overtakes_large_ones() {
    let mut cura = Cura::without_workers().await;
    let pool = cura.database.pool().clone();
    for define in [
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN OLD; END $$",
        "CREATE TRIGGER slow BEFORE DELETE ON events FOR EACH ROW WHEN (OLD.kind = 'slow') EXECUTE FUNCTION slow()",
    ] {
        sqlx::query(define).execute(&pool).await.unwrap();
    }
    for number in 0..4 {
        let large = cura.client().register(&format!("large{number}@example.com")).await;
        let id = large.get("/users/me").await.body["id"].as_i64().unwrap();
        // A minute and more each.
        let fill = "INSERT INTO events SELECT $1, n, 'slow', '{}', now() FROM generate_series(1001, 8000) n";
        sqlx::query(fill).bind(id).execute(&pool).await.unwrap();
        erase(&large).await;
    }
    let small = cura.client().register("small@example.com").await;
    let id = small.get("/users/me").await.body["id"].as_i64().unwrap();
    erase(&small).await;
    cura.add_worker().await;
    eventually("the small one is gone", async || {
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM users WHERE id = $1")
            .bind(id)
            .fetch_one(&pool)
            .await
            .unwrap();
        (left == 0).then_some(())
    })
    .await;
    assert_eq!(
        cura.database.count("SELECT count(*) FROM users").await,
        4,
        "the large ones go on"
    );
    let events = "SELECT count(*) FROM events";
    assert!(
        cura.database.count(events).await < 28_000,
        "and what is erased of them stays erased"
    );
    let spent = "SELECT COALESCE(max(attempts), 0)::bigint FROM apalis.jobs WHERE job_type = 'erase-user'";
    assert!(cura.database.count(spent).await <= 1, "a slice is no failed attempt");
}

#[tokio::test]
async fn erasing_looks_at_each_row_a_few_times_however_many_there_are() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    for fill in [
        "INSERT INTO users (email, password_hash, created_at, updated_at) VALUES ('ann', '', now(), now()), ('bob', '', now(), now())",
        "INSERT INTO sessions (user_id, current_token, created_at, last_used_at, expires_at)
         SELECT 1 + n % 2, 'x', now(), now(), now() FROM generate_series(1, 20) n",
        "INSERT INTO refresh_tokens SELECT sha256(n::text::bytea), 1 + n % 20, now() FROM generate_series(1, 20000) n",
        "INSERT INTO conversations (user_id, last_message_at, created_at, updated_at) VALUES (1, now(), now(), now())",
        "INSERT INTO messages (conversation_id, user_id, role, content, status, created_at, updated_at)
         SELECT 1, 1, 'assistant', 'words', 'sent', now(), now() FROM generate_series(1, 10000)",
        "INSERT INTO answer_attempts SELECT id, 1, 1, 'completed', 'p', 'm', 1, 1, false, now() FROM messages",
        "INSERT INTO idempotency_keys SELECT 1, id::text, 'x', NULL, id, now() FROM messages",
        "INSERT INTO events SELECT 1, n, 'old', '{}', now() FROM generate_series(1, 10000) n",
    ] {
        sqlx::query(fill).execute(pool).await.unwrap();
    }
    let ours = Database::connect_lazy(&database.url(), "test", 1).unwrap();
    let read =
        "SELECT COALESCE(seq_tup_read, 0) + COALESCE(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = $1";
    for name in [
        "refresh_tokens",
        "idempotency_keys",
        "events",
        "answer_attempts",
        "messages",
    ] {
        let table = TABLES.iter().find(|table| table.name == name).unwrap();
        let before: i64 = sqlx::query_scalar(read).bind(name).fetch_one(pool).await.unwrap();
        let mut erased = 0;
        loop {
            let batch = ours.batch(async |connection| table.erase(connection, UserId(1), 500).await);
            let rows = batch.await.unwrap();
            assert!(rows <= 500);
            erased += i64::try_from(rows).unwrap();
            if rows == 0 {
                break;
            }
        }
        assert_eq!(erased, 10_000, "{name}");
        let flush = ours.connection(async |connection| {
            let flush = "SELECT pg_stat_force_next_flush()";
            sqlx::query(flush).execute(connection).await?;
            Ok::<_, StoreError>(())
        });
        flush.await.unwrap();
        let after = eventually("the server counts what was read", async || {
            let after: i64 = sqlx::query_scalar(read).bind(name).fetch_one(pool).await.unwrap();
            (after >= before + erased).then_some(after)
        })
        .await;
        assert!(
            after - before <= 5 * erased,
            "{name}: {} rows were read to erase {erased}",
            after - before
        );
    }
    assert_eq!(
        database.count("SELECT count(*) FROM refresh_tokens").await,
        10_000,
        "nobody else's"
    );
}
