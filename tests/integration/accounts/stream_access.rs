//! Streams and their session: a ticket opens one stream, and every stream ends with its session.

use std::time::{Duration, Instant};

use cura_tests::{Client, Cura, ScriptedProvider, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use super::sessions::PASSWORD;

/// The two seconds of the contract, and what a busy machine needs.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Opens a stream that does not end by itself, does `work`, and says how the stream ended.
async fn end_of_stream_after(cura: &Cura, ann: &Client, work: impl AsyncFnOnce()) -> Value {
    let mut stream = ann.stream("Hi").await;
    assert_eq!(stream.next().await.unwrap().name, "ack");
    work().await;
    let begun = Instant::now();
    let last = stream.rest().await.pop().unwrap();
    assert!(begun.elapsed() < AT_ONCE, "after {:?}", begun.elapsed());
    assert_eq!(last.name, "session_ended", "{}", cura.logs());
    last.data
}

#[tokio::test]
async fn a_ticket_opens_one_stream_of_its_session_once() {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let ann = cura.user().await;
    let sent = ann.post("/chat/send", &json!({ "content": "Hi" })).await;
    let answer = &sent.body["assistant_message"]["id"];
    let ticket = ann.post("/auth/ticket", &Value::Null).await;
    assert_eq!(ticket.status, 200);
    assert_eq!(ticket.body["expires_in"], 60);
    let path = format!(
        "/chat/messages/{answer}/stream?ticket={}",
        ticket.body["ticket"].as_str().unwrap()
    );
    let anonymous = cura.client();
    let mut events = anonymous.events(anonymous.request(Method::GET, &path)).await.unwrap();
    assert_eq!(events.rest().await.last().unwrap().name, "complete");
    let again = anonymous.get(&path).await;
    assert_eq!((again.status.as_u16(), again.code()), (401, "not_authenticated"));
    let bob = cura.client().register("bob@example.com").await;
    let bobs = bob.post("/auth/ticket", &Value::Null).await;
    let path = format!(
        "/chat/messages/{answer}/stream?ticket={}",
        bobs.body["ticket"].as_str().unwrap()
    );
    assert_eq!(anonymous.get(&path).await.status, 404, "another user's ticket");
    let elsewhere = ann.post("/auth/ticket", &Value::Null).await.body["ticket"].clone();
    let path = format!("/users/me?ticket={}", elsewhere.as_str().unwrap());
    assert_eq!(anonymous.get(&path).await.status, 401, "tickets are for streams");
}

#[tokio::test]
async fn a_ticket_expires_and_dies_with_its_session() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let use_one = async |ticket: &Value| {
        let path = format!("/chat/messages/1/stream?ticket={}", ticket.as_str().unwrap());
        cura.client().get(&path).await.status.as_u16()
    };
    let ticket = ann.post("/auth/ticket", &Value::Null).await.body["ticket"].clone();
    sqlx::query("UPDATE tickets SET expires_at = expires_at - interval '1 minute'")
        .execute(cura.database.pool())
        .await
        .unwrap();
    assert_eq!(use_one(&ticket).await, 401);
    let ticket = ann.post("/auth/ticket", &Value::Null).await.body["ticket"].clone();
    let living = ann.post("/auth/ticket", &Value::Null).await.body["ticket"].clone();
    assert_eq!(use_one(&living).await, 404, "let in, but there is no such message");
    ann.post("/auth/logout-all", &Value::Null).await;
    assert_eq!(use_one(&ticket).await, 401);
}

#[tokio::test]
async fn signing_out_ends_open_streams_at_once_on_every_server() {
    let cura = Cura::builder().servers(2).workers(0).start().await;
    let ann = cura.user().await;
    let elsewhere = ann.at(&cura.servers[1].base);
    let data = end_of_stream_after(&cura, &ann, async || {
        assert_eq!(elsewhere.post("/auth/logout-all", &Value::Null).await.status, 204);
    })
    .await;
    assert_eq!(data["reason"], "signed_out");
}

#[tokio::test]
async fn a_suspended_account_is_shut_out_at_once_and_let_in_again_when_restored() {
    let cura = Cura::without_workers().await;
    let ann = cura.client().register("ann@example.com").await;
    let suspend = async |at: &'static str| {
        sqlx::query(at).execute(cura.database.pool()).await.unwrap();
    };
    let data = end_of_stream_after(&cura, &ann, async || {
        suspend("UPDATE users SET suspended_at = now()").await;
    })
    .await;
    assert_eq!(data["reason"], "suspended");
    let refused = ann.get("/users/me").await;
    assert_eq!((refused.status.as_u16(), refused.code()), (403, "account_suspended"));
    let login = |password: &str| json!({ "email": "ann@example.com", "password": password });
    let right = cura.client().post("/auth/login", &login(PASSWORD)).await;
    assert_eq!((right.status.as_u16(), right.code()), (403, "account_suspended"));
    let wrong = cura.client().post("/auth/login", &login("not my password")).await;
    assert_eq!(
        (wrong.status.as_u16(), wrong.code()),
        (401, "invalid_credentials"),
        "who does not know the password learns nothing"
    );
    suspend("UPDATE users SET suspended_at = NULL").await;
    assert_eq!(ann.get("/users/me").await.status, 200);
}

#[tokio::test]
async fn streams_end_also_when_the_announcement_was_missed() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let mut stream = ann.stream("Hi").await;
    assert_eq!(stream.next().await.unwrap().name, "ack");
    // Cut what listens, and end the session before it is back.
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database()
                 AND (query LIKE 'LISTEN \"cura_sessions_ended\"%' OR query LIKE '%/* listening */')";
    eventually("the server listens", async || {
        let done = sqlx::query(cut).execute(cura.database.pool()).await.unwrap();
        (done.rows_affected() > 0).then_some(())
    })
    .await;
    ann.post("/auth/logout-all", &Value::Null).await;
    let begun = Instant::now();
    assert_eq!(stream.rest().await.pop().unwrap().name, "session_ended");
    assert!(begun.elapsed() < AT_ONCE, "after {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_stream_opened_while_the_session_ends_ends_too() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let conversation = ann.post("/conversations", &json!({})).await.body["id"].clone();
    // The stream is let in, and then has to wait for its conversation.
    let mut other = cura.database.pool().begin().await.unwrap();
    sqlx::query("SELECT id FROM conversations FOR UPDATE")
        .execute(&mut *other)
        .await
        .unwrap();
    let request = ann.request(Method::POST, &format!("/chat/stream/{conversation}"));
    let (stream, ()) = tokio::join!(ann.events(request.json(&json!({ "content": "Hi" }))), async {
        cura.database.wait_for_lock_waiter().await;
        sqlx::query("UPDATE sessions SET ended_at = now()")
            .execute(cura.database.pool())
            .await
            .unwrap();
        other.commit().await.unwrap();
    });
    let begun = Instant::now();
    let last = stream.ok().unwrap().rest().await.pop().unwrap();
    assert_eq!(last.name, "session_ended");
    assert!(begun.elapsed() < AT_ONCE, "after {:?}", begun.elapsed());
}

#[tokio::test]
async fn resuming_with_an_invalid_token_says_what_is_wrong_with_it() {
    let cura = Cura::builder().workers(0).with("RATE_LIMIT_DEFAULT", "2").start().await;
    let ann = cura.user().await;
    let resume = async || ann.get("/chat/messages/1/stream").await;
    assert_eq!(resume().await.status, 404);
    assert_eq!(resume().await.status, 404);
    let limited = resume().await;
    assert_eq!((limited.status.as_u16(), limited.code()), (429, "rate_limited"));
    assert!(limited.header("retry-after").is_some());
    // Who is refused is not looked up: somebody else.
    let bob = cura.client().register("bob@example.com").await;
    sqlx::query("UPDATE users SET suspended_at = now()")
        .execute(cura.database.pool())
        .await
        .unwrap();
    assert_eq!(bob.get("/chat/messages/1/stream").await.code(), "account_suspended");
}
