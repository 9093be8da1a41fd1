//! Erasing an account: nothing of it is left in any table, in Redis or in the logs.

use std::collections::BTreeSet;
use std::time::Duration;

use cura_domain::UserId;
use cura_store::personal_data::{TABLES, TABLES_WITHOUT_PERSONAL_DATA, TABLES_WORKED_OFF};
use cura_tests::provider::words;
use cura_tests::{Client, Cura, Form, Reply, ScriptedProvider, TestDatabase, eventually, interrupted_answer};
use reqwest::Method;
use serde_json::{Value, json};

use super::export::export;

const PASSWORD: &str = "a long password";

async fn erase(client: &Client, password: &str) -> Reply {
    let request = client.request(Method::DELETE, "/users/me");
    client.send(request.json(&json!({ "password": password }))).await
}

/// A user with rows in every table of personal data.
pub(super) async fn user_with_everything(cura: &Cura, email: &str) -> (Client, UserId) {
    let ann = cura.client().register(email).await;
    let request = ann.request(Method::POST, "/chat/send").header("Idempotency-Key", "one");
    let sent = ann.send(request.json(&json!({ "content": "my secret words" }))).await;
    assert_eq!(sent.status, 200, "{}", sent.body);
    ann.post("/auth/ticket", &Value::Null).await;
    let summary = "INSERT INTO summaries (message_id, user_id, content, model, created_at)
         SELECT max(id), user_id, 'my secret past', 'm', now() FROM messages WHERE user_id = (SELECT max(id) FROM users) GROUP BY user_id";
    sqlx::query(summary).execute(cura.database.pool()).await.unwrap();
    // As the release before left it.
    let token = "INSERT INTO refresh_tokens SELECT decode(md5(id::text), 'hex'), id, now() FROM sessions
         WHERE user_id = (SELECT max(id) FROM users)";
    sqlx::query(token).execute(cura.database.pool()).await.unwrap();
    let title = "INSERT INTO model_calls (user_id, conversation_id, kind, prompt_tokens, reserved_tokens, begun_at)
         SELECT max(id), 1, 'title', 0, 0, now() FROM users";
    sqlx::query(title).execute(cura.database.pool()).await.unwrap();
    let device = json!({ "fcm_token": format!("token-of-{email}").replace('@', "-"), "platform": "ios", "device_name": "phone" });
    assert_eq!(ann.post("/devices/register", &device).await.status, 201);
    for push in [
        "INSERT INTO pushes (user_id, kind, decision, decided_at, created_at) SELECT max(id), 'test', 'pushed', now(), now() FROM users",
        "INSERT INTO push_sends (push_id, device_id, claimed_at) SELECT max(id), 1, now() FROM pushes",
    ] {
        sqlx::query(push).execute(cura.database.pool()).await.unwrap();
    }
    let picture = Form::of("my secret face.png", include_bytes!("../../fixtures/files/alpha.png"));
    let kept = ann
        .upload(picture.field("message_id", &sent.body["user_message"]["id"]))
        .await;
    assert_eq!(kept.status, 201, "{}", kept.body);
    let letter = Form::of(
        "my secret letter.docx",
        include_bytes!("../../fixtures/files/node.docx"),
    );
    assert_eq!(ann.upload(letter).await.status, 201);
    eventually("both are scanned", async || {
        let files = ann.get("/uploads").await.body["items"].clone();
        files
            .as_array()
            .unwrap()
            .iter()
            .all(|file| file["status"] == "clean")
            .then_some(())
    })
    .await;
    let avatar = Form::of("me.png", include_bytes!("../../fixtures/files/alpha.png"));
    let request = ann.request(Method::POST, "/users/me/avatar");
    let request = request.header("content-type", avatar.content_type()).body(avatar.end());
    assert_eq!(ann.send(request).await.status, 200);
    let begin = ann
        .request(Method::POST, "/uploads/resumable")
        .header("Tus-Resumable", "1.0.0");
    let begun = ann.send(begin.header("Upload-Length", "1000")).await;
    let part = ann.request(Method::PATCH, begun.header("location").unwrap());
    let part = part.header("Tus-Resumable", "1.0.0").header("Upload-Offset", "0");
    let part = part.header("content-type", "application/offset+octet-stream");
    assert_eq!(ann.send(part.body("half of my secret")).await.status, 204);
    export(&ann).await;
    // As the release before left it.
    let part = "INSERT INTO export_parts SELECT max(id), 0, 'x' FROM exports";
    sqlx::query(part).execute(cura.database.pool()).await.unwrap();
    let id = ann.get("/users/me").await.body["id"].as_i64().unwrap();
    (ann, UserId(id))
}

async fn until_nobody_is_left(cura: &Cura) {
    eventually("the user is gone", async || {
        (cura.database.count("SELECT count(*) FROM users").await == 0).then_some(())
    })
    .await;
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
        .chain(TABLES_WORKED_OFF)
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
        .arg("cura:answer:*:text")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert!(keys.len() <= 1, "only bob's answer is left: {keys:?}");
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

/// The keys of texts in Redis.
async fn texts(cura: &Cura) -> Vec<String> {
    let redis = redis::Client::open(cura.redis.url()).unwrap();
    let mut connection = redis.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("KEYS")
        .arg("cura:answer:*:text")
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
    until_nobody_is_left(&cura).await;
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
    until_nobody_is_left(&cura).await;
}

#[tokio::test]
async fn an_event_that_is_written_while_its_user_is_erased_goes_too() {
    let mut cura = Cura::without_workers().await;
    let ann = cura.client().register("ann@example.com").await;
    assert_eq!(ann.post("/conversations", &json!({})).await.status, 201);
    assert_eq!(erase(&ann, PASSWORD).await.status, 204);
    let mut other = cura.database.pool().begin().await.unwrap();
    sqlx::query("SELECT log_events(user_id, ARRAY['conversation'], ARRAY['{}'::jsonb], now()) FROM event_counters")
        .execute(&mut *other)
        .await
        .unwrap();
    cura.add_worker().await;
    cura.database.wait_for_lock_waiter().await;
    other.commit().await.unwrap();
    until_nobody_is_left(&cura).await;
    assert_eq!(cura.database.count("SELECT count(*) FROM events").await, 0);
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
