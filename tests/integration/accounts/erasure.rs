//! Exporting and erasing an account, and pruning what has expired.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;

use cura_domain::UserId;
use cura_store::personal_data::{Export, TABLES, TABLES_WITHOUT_PERSONAL_DATA};
use cura_tests::provider::words;
use cura_tests::{Client, Cura, Reply, ScriptedProvider, TestDatabase, eventually, interrupted_answer};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const PASSWORD: &str = "a long password";

async fn erase(client: &Client, password: &str) -> Reply {
    let request = client.request(Method::DELETE, "/users/me");
    client.send(request.json(&json!({ "password": password }))).await
}

/// Waits for the export of this account and returns it.
async fn export(client: &Client) -> Vec<u8> {
    eventually("the archive is made", async || {
        let response = client.request(Method::GET, "/users/me/export").send().await.unwrap();
        if response.status() == 202 {
            assert!(response.headers().contains_key("retry-after"));
            return None;
        }
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/zip");
        let (length, etag) = (
            response.content_length().unwrap(),
            response.headers()["etag"].to_str().unwrap().to_owned(),
        );
        let bytes = response.bytes().await.unwrap().to_vec();
        assert_eq!(bytes.len() as u64, length);
        assert_eq!(etag, format!("\"{}\"", hex(&bytes)));
        Some(bytes)
    })
    .await
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn file(archive: &[u8], name: &str) -> Vec<u8> {
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(archive)).unwrap();
    let mut content = Vec::new();
    zip.by_name(name).unwrap().read_to_end(&mut content).unwrap();
    content
}

/// A user with rows in every table of personal data.
async fn user_with_everything(cura: &Cura, email: &str) -> (Client, UserId) {
    let ann = cura.client().register(email).await;
    let request = ann.request(Method::POST, "/chat/send").header("Idempotency-Key", "one");
    let sent = ann.send(request.json(&json!({ "content": "my secret words" }))).await;
    assert_eq!(sent.status, 200, "{}", sent.body);
    ann.post("/auth/ticket", &Value::Null).await;
    let summary = "INSERT INTO summaries (message_id, user_id, content, model, created_at)
         SELECT max(id), user_id, 'my secret past', 'm', now() FROM messages WHERE user_id = (SELECT max(id) FROM users) GROUP BY user_id";
    sqlx::query(summary).execute(cura.database.pool()).await.unwrap();
    export(&ann).await;
    let id = ann.get("/users/me").await.body["id"].as_i64().unwrap();
    (ann, UserId(id))
}

async fn rows(cura: &Cura, user: UserId) -> Vec<(&'static str, i64)> {
    let mut connection = cura.database.pool().acquire().await.unwrap();
    let mut counted = Vec::new();
    for table in TABLES {
        counted.push((table.name, table.count(&mut connection, user).await.unwrap()));
    }
    counted
}

#[tokio::test]
async fn every_table_is_known_to_hold_data_of_people_or_not() {
    let database = TestDatabase::create().await;
    let there: BTreeSet<String> = sqlx::query_scalar::<_, String>(
        "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'",
    )
    .fetch_all(database.pool())
    .await
    .unwrap()
    .into_iter()
    .collect();
    let known: BTreeSet<String> = TABLES
        .iter()
        .map(|table| table.name)
        .chain(TABLES_WITHOUT_PERSONAL_DATA)
        .map(str::to_owned)
        .collect();
    assert_eq!(
        there, known,
        "a migration added or dropped a table: say in store/personal_data.rs what is in it"
    );
    // What refers to a user, directly or not, is about a person.
    let about_people: Vec<String> = sqlx::query_scalar(
        "WITH RECURSIVE refers AS (
             SELECT 'users'::regclass::oid AS table_id
             UNION SELECT c.conrelid FROM pg_constraint c JOIN refers r ON c.confrelid = r.table_id WHERE c.contype = 'f'
         ) SELECT table_id::regclass::text FROM refers",
    )
    .fetch_all(database.pool())
    .await
    .unwrap();
    for table in about_people {
        assert!(TABLES.iter().any(|known| known.name == table), "{table}");
    }
}

#[tokio::test]
async fn an_erased_account_leaves_nothing_behind() {
    let provider = ScriptedProvider::answering(&["my secret answer"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let (ann, id) = user_with_everything(&cura, "ann@example.com").await;
    let (bob, bobs_id) = user_with_everything(&cura, "bob@example.com").await;
    let before = rows(&cura, id).await;
    assert!(
        before.iter().all(|(_, count)| *count > 0),
        "the test fills every table: {before:?}"
    );
    let bobs = rows(&cura, bobs_id).await;
    let wrong = erase(&ann, "not my password").await;
    assert_eq!((wrong.status.as_u16(), wrong.code()), (403, "wrong_password"));
    assert_eq!(ann.get("/users/me").await.status, 200);
    assert_eq!(erase(&ann, PASSWORD).await.status, 204);
    assert_eq!(ann.get("/users/me").await.status, 401);
    let login = json!({ "email": "ann@example.com", "password": PASSWORD });
    assert_eq!(cura.client().post("/auth/login", &login).await.status, 401);
    cura.client().register("ann@example.com").await;
    eventually("every row is gone", async || {
        rows(&cura, id).await.iter().all(|(_, count)| *count == 0).then_some(())
    })
    .await;
    assert_eq!(rows(&cura, bobs_id).await, bobs, "no other user loses anything");
    assert_eq!(bob.get("/users/me").await.status, 200);
    let redis = redis::Client::open(cura.redis.url()).unwrap();
    let mut connection = redis.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("cura:answer:*")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert!(keys.len() <= 2, "only bob's answer is left: {keys:?}");
    let said = cura.logs();
    for secret in ["ann@example.com", "my secret words", "my secret answer"] {
        assert!(!said.contains(secret), "{secret} is in the logs");
    }
}

#[tokio::test]
async fn erasing_cancels_running_answers_and_ends_open_streams() {
    let mut answer = interrupted_answer().stalling_after(&["I am going to"]).start().await;
    assert_eq!(erase(&answer.user, PASSWORD).await.status, 204);
    answer.read_rest().await;
    assert_eq!(answer.last().name, "session_ended");
    answer.provider.wait_for_disconnect().await;
    eventually("the user is gone", async || {
        (answer.cura.database.count("SELECT count(*) FROM users").await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_archive_holds_everything_and_says_so_itself() {
    let provider = ScriptedProvider::answering(&["Hello ", "wörld"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let (ann, id) = user_with_everything(&cura, "ann@example.com").await;
    user_with_everything(&cura, "bob@example.com").await;
    // The one made above is old; what was said since is in the next one.
    sqlx::query("UPDATE exports SET expires_at = now()")
        .execute(cura.database.pool())
        .await
        .unwrap();
    let gone = ann
        .post("/chat/send", &json!({ "content": "a deleted word" }))
        .await
        .body;
    let path = format!("/conversations/{}", gone["conversation_id"]);
    ann.send(ann.request(Method::DELETE, &path)).await;
    let archive = export(&ann).await;
    let manifest: Value = serde_json::from_slice(&file(&archive, "manifest.json")).unwrap();
    assert_eq!(manifest["about"]["user_id"], id.0);
    let listed: BTreeSet<&str> = manifest["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let name = entry["name"].as_str().unwrap();
            let content = file(&archive, name);
            assert_eq!(entry["sha256"].as_str(), Some(hex(&content).as_str()), "{name}");
            assert_eq!(entry["bytes"], content.len());
            let lines: Vec<Value> = std::str::from_utf8(&content)
                .unwrap()
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            assert_eq!(entry["lines"], lines.len());
            assert!(!lines.is_empty(), "{name}");
            name
        })
        .collect();
    let promised: BTreeSet<&str> = TABLES
        .iter()
        .filter_map(|table| match table.export {
            Export::File { name, .. } => Some(name),
            Export::Nothing { .. } => None,
        })
        .collect();
    assert_eq!(listed, promised);
    let messages = String::from_utf8(file(&archive, "messages.jsonl")).unwrap();
    assert!(messages.contains("my secret words") && messages.contains("Hello wörld"));
    assert!(!messages.contains("a deleted word"));
    let everything: String = promised
        .iter()
        .map(|name| String::from_utf8(file(&archive, name)).unwrap())
        .collect();
    assert!(!everything.contains("bob@example.com") && !everything.contains("argon2"));
    let events: i64 = sqlx::query_scalar("SELECT count(*) FROM events WHERE user_id = $1 AND kind = 'export'")
        .bind(id.0)
        .fetch_one(cura.database.pool())
        .await
        .unwrap();
    assert_eq!(events, 2, "an event says that it is ready");
}

#[tokio::test]
async fn a_large_archive_comes_in_pieces_and_two_requests_make_one() {
    let cura = Cura::start().await;
    let ann = cura.user().await;
    let id = ann.get("/users/me").await.body["id"].as_i64().unwrap();
    // Words that do not compress.
    let fill = "WITH c AS (
                    INSERT INTO conversations (user_id, last_message_at, created_at, updated_at)
                    VALUES ($1, now(), now(), now()) RETURNING id
                )
                INSERT INTO messages (conversation_id, user_id, role, content, status, created_at, updated_at)
                SELECT c.id, $1, 'user', (SELECT string_agg(md5(random()::text || n.n || m), '') FROM generate_series(1, 30) m),
                       'sent', now(), now()
                FROM c, generate_series(1, 3000) n (n)";
    sqlx::query(fill).bind(id).execute(cura.database.pool()).await.unwrap();
    let (first, second) = tokio::join!(export(&ann), export(&ann));
    assert_eq!(first, second);
    assert!(first.len() > 1_000_000, "{} bytes", first.len());
    let lines = file(&first, "messages.jsonl")
        .iter()
        .filter(|byte| **byte == b'\n')
        .count();
    assert_eq!(lines, 3000);
    let jobs: i64 = sqlx::query_scalar("SELECT count(*) FROM apalis.jobs WHERE job_type = 'export-account'")
        .fetch_one(cura.database.pool())
        .await
        .unwrap();
    assert_eq!(jobs, 1);
}

#[tokio::test]
async fn expired_rows_are_pruned_once_a_period_by_the_first_worker_that_comes() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    ann.post("/auth/ticket", &Value::Null).await;
    let request = ann
        .request(Method::POST, "/chat/send")
        .header("Idempotency-Key", "old")
        .header("Prefer", "wait=0");
    ann.send(request.json(&json!({ "content": "Hi" }))).await;
    cura.client().register("old@example.com").await;
    for age in [
        "UPDATE tickets SET expires_at = now() - interval '1 second'",
        "UPDATE idempotency_keys SET created_at = now() - interval '26 hours'",
        "UPDATE sessions SET expires_at = now() - interval '31 days' WHERE user_id = 2",
        "INSERT INTO exports (user_id, state, created_at, expires_at) VALUES (1, 'making', now(), now() - interval '1 second')",
        "INSERT INTO events VALUES (1, 1001, 'old', '{}', now() - interval '8 days'), (1, 1002, 'new', '{}', now())",
    ] {
        sqlx::query(age).execute(cura.database.pool()).await.unwrap();
    }
    let mut cura = cura;
    cura.add_worker().await;
    cura.add_worker().await;
    let left = "SELECT ARRAY[(SELECT count(*) FROM tickets), (SELECT count(*) FROM idempotency_keys),
                             (SELECT count(*) FROM sessions), (SELECT count(*) FROM exports),
                             (SELECT count(*) FROM events WHERE kind IN ('old', 'new'))]";
    eventually("the old is forgotten and the new is kept", async || {
        let left: Vec<i64> = sqlx::query_scalar(left).fetch_one(cura.database.pool()).await.unwrap();
        (left == [0, 0, 1, 0, 1]).then_some(())
    })
    .await;
    let jobs: i64 = sqlx::query_scalar("SELECT count(*) FROM apalis.jobs WHERE job_type = 'prune-expired'")
        .fetch_one(cura.database.pool())
        .await
        .unwrap();
    assert!((1..=2).contains(&jobs), "one a period: {jobs}");
}

/// The keys of texts in Redis.
async fn texts(cura: &Cura) -> Vec<String> {
    let redis = redis::Client::open(cura.redis.url()).unwrap();
    let mut connection = redis.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("KEYS")
        .arg("cura:answer:*")
        .query_async(&mut connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn no_word_stays_in_redis_when_a_user_is_erased_in_the_middle_of_answers() {
    let provider = ScriptedProvider::answering(&words(500), Duration::from_millis(10)).await;
    let cura = Cura::builder().workers(2).with_provider(&provider).start().await;
    let ann = cura.client().register("ann@example.com").await;
    let mut streams = Vec::new();
    for _ in 0..6 {
        let mut stream = ann.stream("Hi").await;
        stream.until("chunk").await;
        streams.push(stream);
    }
    assert!(!texts(&cura).await.is_empty());
    assert_eq!(erase(&ann, PASSWORD).await.status, 204);
    eventually("the user is gone", async || {
        (cura.database.count("SELECT count(*) FROM users").await == 0).then_some(())
    })
    .await;
    assert_eq!(texts(&cura).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_row_that_is_written_while_its_user_is_erased_goes_too() {
    let mut cura = Cura::without_workers().await;
    let ann = cura.client().register("ann@example.com").await;
    assert_eq!(erase(&ann, PASSWORD).await.status, 204);
    let mut other = cura.database.pool().begin().await.unwrap();
    sqlx::query("UPDATE users SET last_seen = now()")
        .execute(&mut *other)
        .await
        .unwrap();
    cura.add_worker().await;
    cura.database.wait_for_lock_waiter().await;
    other.commit().await.unwrap();
    eventually("the user is gone", async || {
        (cura.database.count("SELECT count(*) FROM users").await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_erasure_or_a_purge_whose_job_was_lost_is_asked_for_again() {
    let mut cura = Cura::without_workers().await;
    let ann = cura.client().register("ann@example.com").await;
    let bob = cura.client().register("bob@example.com").await;
    let conversation = bob.post("/conversations", &json!({})).await.body["id"].clone();
    erase(&ann, PASSWORD).await;
    bob.send(bob.request(Method::DELETE, &format!("/conversations/{conversation}")))
        .await;
    for lose in [
        "UPDATE apalis.jobs SET status = 'Killed', done_at = now()",
        "UPDATE users SET erased_at = erased_at - interval '1 hour' WHERE erased_at IS NOT NULL",
        "UPDATE conversations SET deleted_at = deleted_at - interval '1 hour'",
    ] {
        sqlx::query(lose).execute(cura.database.pool()).await.unwrap();
    }
    cura.add_worker().await;
    eventually("both are done", async || {
        let left: i64 =
            sqlx::query_scalar("SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM conversations)")
                .fetch_one(cura.database.pool())
                .await
                .unwrap();
        (left == 1).then_some(())
    })
    .await;
    assert_eq!(bob.get("/users/me").await.status, 200);
}

#[tokio::test]
async fn a_deleted_conversation_is_in_no_export_and_an_export_can_be_deleted() {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let ann = cura.user().await;
    let secret = ann
        .post("/chat/send", &json!({ "content": "a secret thing" }))
        .await
        .body;
    let messages = |archive: &[u8]| String::from_utf8(file(archive, "messages.jsonl")).unwrap();
    assert!(messages(&export(&ann).await).contains("a secret thing"));
    let path = format!("/conversations/{}", secret["conversation_id"]);
    assert_eq!(ann.send(ann.request(Method::DELETE, &path)).await.status, 204);
    assert!(!messages(&export(&ann).await).contains("a secret thing"));
    ann.post("/chat/send", &json!({ "content": "something new" })).await;
    assert!(
        !messages(&export(&ann).await).contains("something new"),
        "it is kept for a while"
    );
    for _ in 0..2 {
        let thrown = ann.send(ann.request(Method::DELETE, "/users/me/export")).await;
        assert_eq!(thrown.status, 204);
    }
    assert!(messages(&export(&ann).await).contains("something new"));
}
